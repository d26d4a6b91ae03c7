"""Settings written as text: what they mean, and which are refused."""

import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.parse import parse_scalar, parse_settings
from recbole_mm.errors import InputError


def config(model="CLIPRec", dataset="demo", files=None, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, dataset, files, {"use_gpu": False, **keys})


@pytest.mark.parametrize("written", ["image,joint", "[image,joint]", "[image, joint]", "['image', \"joint\"]"])
def test_a_list_of_words_is_written_with_or_without_brackets(monkeypatch, written):
    monkeypatch.setattr("sys.argv", ["x", f"--modalities={written}"])
    assert config()["modalities"] == ["image", "joint"]


def test_a_mapping_is_written_as_in_yaml_or_python(monkeypatch):
    for written in ("{max_norm: 5e-1, norm_type: .inf}", "{'max_norm': 0.5, 'norm_type': 1e999}"):
        monkeypatch.setattr("sys.argv", ["x", f"--clip_grad_norm={written}"])
        assert config()["clip_grad_norm"] == config("BPR", "ml-100k")["clip_grad_norm"] == {"max_norm": 0.5, "norm_type": float("inf")}
    monkeypatch.setattr("sys.argv", ["x", "--modality_weights={image: 0.2}", "--train_neg_sample_args={distribution: popularity}"])
    read = config("FREEDOM")
    assert read["modality_weights"] == {"image": 0.2} and read["train_neg_sample_args"]["distribution"] == "popularity"


def test_a_value_may_hold_an_equals_sign_and_is_never_evaluated(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--encoder=separate:image=a,text=b", "--image_dir=__import__('os').getcwd()"])
    read = config()
    assert read["encoder"] == "separate:image=a,text=b" and read["image_dir"] == "__import__('os').getcwd()"


def test_settings_are_pairs_each_given_once():
    assert parse_settings(["--a=1", "--b=x=y", "--c=", "--a=1"]) == {"a": "1", "b": "x=y", "c": ""}
    for arguments, says in ((["a=1"], "--key=value"), (["--a"], "--key=value"), (["--a=1", "--a=2"], "given twice, as '1' and as '2'")):
        with pytest.raises(InputError, match=says):
            parse_settings(arguments)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("3", 3),
        ("1e-4", 1e-4),
        ("[1,2]", [1, 2]),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_a_scalar_is_what_python_or_yaml_reads(text, value):
    assert parse_scalar(text) == value
