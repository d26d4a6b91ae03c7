"""A module of the user's own is imported first, and what it defines is found by name."""

from pathlib import Path

import pytest

from recbole_mm.cli import main_run
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.plugins import load_plugins
from recbole_mm.encoder import create_encoder, list_backends
from recbole_mm.errors import InputError
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.testing.planted import settings

MODULE = """
from helper_of_{name} import SIZE
from recbole.evaluator.base_metric import TopkMetric
from recbole.model.general_recommender import BPR

from recbole_mm import create_encoder, register_backend
from recbole_mm.model.vbpr import VBPR


class {name}Ids(BPR):
    default_settings = {{"my_size": SIZE}}


class {name}Content(VBPR):
    pass


class {name}Hits(TopkMetric):
    def calculate_metric(self, dataobject):
        found, _ = self.used_info(dataobject)
        return self.topk_result("{metric}", found.cumsum(axis=1) > 0)


@register_backend("{metric}_encoders")
def create(name, source, *, seed=0):
    return create_encoder("open_clip:tiny", seed=seed)
"""


def config(model, plugins, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, "demo", None, {"use_gpu": False, "plugins": plugins, **keys}, [])


def written(tmp_path, name: str) -> str:
    (tmp_path / f"helper_of_{name}.py").write_text("SIZE = 8\n")
    file = tmp_path / f"my-{name}.py"
    file.write_text(MODULE.format(name=name, metric=f"{name.lower()}hits"))
    return str(file)


def test_models_encoders_and_metrics_of_a_file_are_found_by_name(tmp_path):
    file = written(tmp_path, "First")
    ids = config("FirstIds", file)
    assert ids["my_size"] == 8 and ids["plugins"] == [file] and ids["embedding_size"] == 64
    content = config("FirstContent", [file], encoder="firsthits_encoders:x", metrics=["Recall", "FirstHits"], valid_metric="FirstHits@10")
    assert content["encoder"] == "firsthits_encoders:x" and content["valid_metric_bigger"]
    assert "firsthits_encoders" in list_backends() and create_encoder("firsthits_encoders:x").output_dims
    with pytest.raises(InputError, match=r"no model named 'FirstIsd' in the plugins, recbole_mm or RecBole \(did you mean 'FirstIds'\?\)"):
        config("FirstIsd", [file])


def test_a_relative_file_and_a_module_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "Second")
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "models.py").write_text(
        "from recbole.model.general_recommender import Pop\n\nclass Third(Pop):\n    pass\n"
    )
    read = config("Third", "my-Second.py,package_of_mine.models")
    assert read["plugins"] == [str(tmp_path / "my-Second.py"), "package_of_mine.models"]
    again = MultiModalConfig.from_final(read.final_config_dict)
    assert again.model_class is read.model_class, "a checkpoint's configuration finds it again"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\ny = z\n", "line 2: NameError: name 'z' is not defined"),
        ("def f(:\n", "line 1: SyntaxError"),
        ("\n\nimport sys\nsys.exit(3)\n", "line 4: SystemExit: 3"),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError"),
        ("from recbole_mm import register_backend\n\nregister_backend('open_clip')(print)\n", "line 3: ValueError: .*already"),
    ],
)
def test_a_module_that_raises_is_named_with_its_line(tmp_path, text, says):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(InputError, match=f"plugins: {tmp_path}/broken.py, {says}"):
        config("BPR", [str(tmp_path / "broken.py")])


def test_what_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "mine.py").touch()
    with pytest.raises(InputError, match=r"plugins: there is no file .*/mne.py \(did you mean 'mine.py'\?\)"):
        load_plugins([str(tmp_path / "mne.py")])
    (tmp_path / "folder_of_nothing").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="plugins: folder_of_nothing is a folder without __init__.py"):
        load_plugins(["folder_of_nothing"])
    with pytest.raises(InputError, match="plugins: there is no module nowhere.mine; a file ends in .py"):
        load_plugins(["nowhere.mine"])
    with pytest.raises(InputError, match="plugins '5': a list of names"):
        config("BPR", 5)


@pytest.mark.parametrize("model", ["FourthIds", "FifthContent"])
def test_a_run_by_the_command_and_its_checkpoint_find_the_model(planted, tmp_path, monkeypatch, capsys, model):
    name, keys = model.removesuffix("Ids").removesuffix("Content"), settings(planted, epochs=1)
    file = written(tmp_path, name)
    keys |= {"metrics": f"Recall,{name}Hits", "encoder": f"{name.lower()}hits_encoders:x", "encoder_training": "pretrained", "topk": "5,10"}
    arguments = [f"--{key}={value}" for key, value in keys.items() if model == "FifthContent" or not key.startswith("encoder")]
    monkeypatch.chdir(tmp_path)
    assert main_run([f"--model={model}", f"--dataset={planted.name}", "--plugins", Path(file).name, *arguments]) == 0, capsys.readouterr()
    (checkpoint,) = Path("saved").glob(f"{model}-*.pth")
    monkeypatch.chdir(planted)
    config, loaded, *_ = load_data_and_model(str(tmp_path / checkpoint))
    assert type(loaded).__name__ == model and config["plugins"] == [file]
