"""The file of settings that lies beside a data set's own files is read by itself."""

from pathlib import Path

import pytest

from recbole_mm.config.catalogue_config import CatalogueConfig
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path


def config(place: Path, text: str, model: str = "BPR", files: list[str] | None = None, line: list[str] | None = None, **keys):
    (place / "shop" / "shop.yaml").write_text(text)
    own = {"train_neg_sample_args": None} if model == "SASRec" else {}
    return MultiModalConfig(model, "shop", files, {"use_gpu": False, **own, **keys}, [f"--data_path={place}"] if line is None else line)


def test_it_stands_above_property_files_and_below_config_files(place):
    assert config(place, "topk: [3]\nvalid_metric: MRR@3")["topk"] == [3]
    (place / "more.yaml").write_text("topk: [4]\nvalid_metric: MRR@4")
    assert config(place, "topk: [3]\nvalid_metric: MRR@3", files=[str(place / "more.yaml")])["topk"] == [4]
    line = [f"--data_path={place}", "--topk=[5]", "--valid_metric=MRR@5"]
    assert config(place, "topk: [3]\nvalid_metric: MRR@3", line=line)["topk"] == [5]
    assert config(place, "topk: [3]\nvalid_metric: MRR@3", line=[])["topk"] == [10], "the data set lies elsewhere"
    (place / "more.yaml").write_text(f"data_path: {place}")
    assert config(place, "topk: [3]\nvalid_metric: MRR@3", files=[str(place / "more.yaml")], line=[])["topk"] == [3]


@pytest.mark.parametrize("model", ["BPR", "SASRec", "CLIPRec"])
def test_it_is_named_and_names_fields(place, model):
    read = config(place, "ITEM_ID_FIELD: product\ntext_field: name, brand\n", model)
    assert read["load_col"] == {"inter": ["user_id", "product"]}
    file = place / "shop" / "shop.yaml"
    if model == "CLIPRec":
        assert read["text_field"] == ["name", "brand"] and not read.notices
        assert read.data_set_settings == f"{file}: ITEM_ID_FIELD, text_field"
    else:
        assert f"{file}: not used by {model}: text_field" in read.notices
        assert read.data_set_settings == f"{file}: ITEM_ID_FIELD"


def test_keys_of_other_models_and_of_the_run_itself_are_left_aside(place):
    read = config(place, "model: LightGCN\ndataset: other\ndata_path: /x\nn_layers: 9\nplugins: [mine.py]\nepochs: 7")
    assert (read["model"], read["dataset"], read["data_path"], read["epochs"]) == ("BPR", "shop", str(place / "shop"), 7)
    assert "not used by BPR: model, dataset, data_path, n_layers, plugins" in read.notices[-1]


def test_it_chooses_no_preset(place):
    read = config(place, "preset: best", "LightGCNM")
    assert (read["preset"], read["loss_type"]) == (None, "BPR")
    assert "not used by LightGCNM: preset" in read.notices[-1]


def test_an_empty_one_is_none(place):
    read = config(place, "# nothing yet\n")
    assert not read.notices and not read.data_set_settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ITEM_ID_FEILD: product", r"shop.yaml: unknown key 'ITEM_ID_FEILD' \(did you mean 'ITEM_ID_FIELD'"),
        ("topk: [3", "shop.yaml is not valid YAML"),
        ("just words", "shop.yaml must hold `key: value` lines"),
        ("user_inter_num_interval: 5", "user_inter_num_interval '5'"),
        ("epochs: many", "epochs 'many': a positive whole number"),
    ],
)
def test_what_is_wrong_with_it_is_told(place, text, says):
    with pytest.raises(InputError, match=says) as caught:
        config(place, text)
    assert "\n" not in str(caught.value)


def test_other_commands_read_it_and_checkpoints_hold_what_came_of_it(place):
    text = "topk: [3]\nvalid_metric: MRR@3\nfeature_files: {audio: a.npy}\n"
    (place / "shop" / "shop.yaml").write_text(text)
    assert CatalogueConfig(None, "shop", None, [f"--data_path={place}"])["feature_files"] == {"audio": "a.npy"}
    final = config(place, text, "CLIPRec").final_config_dict
    (place / "shop" / "shop.yaml").unlink()
    assert MultiModalConfig.from_final(final)["feature_files"] == {"audio": "a.npy"}
