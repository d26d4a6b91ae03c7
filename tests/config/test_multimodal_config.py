"""MultiModalConfig: precedence, types, and whose arguments it reads."""

import os

import pytest
from recbole.config import Config
from recbole.utils import InputType

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.model.cliprec import CLIPRec


def config(model="CLIPRec", dataset="demo", files=None, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, dataset, files, {"use_gpu": False, **keys})


def test_precedence_is_recboles(tmp_path, monkeypatch):
    assert config(dataset="other")["topk"] == [10, 20] and config(dataset="other")["valid_metric"] == "MRR@10"
    assert config()["valid_metric"] == "Recall@20", "data set properties come over the model's"
    (tmp_path / "a.yaml").write_text("epochs: 7\nembedding_size: 8\nvalid_metric: NDCG@20\nlearning_rate: 1e-4\n")
    files = [str(tmp_path / "a.yaml")]
    read = config(files=files)
    assert (read["epochs"], read["embedding_size"], read["valid_metric"], read["learning_rate"]) == (7, 8, "NDCG@20", 1e-4)
    assert config(files=files, epochs=9)["epochs"] == 9
    monkeypatch.setattr("sys.argv", ["script.py", "--epochs=11", "--text_field=title,tags", "--topk=20,50"])
    read = config(files=files, epochs=9)
    assert (read["epochs"], read["text_field"], read["topk"]) == (11, ["title", "tags"], [20, 50])


@pytest.mark.parametrize("written", ["{max_nrom: 1}", "{norm_type: 2}", "{max_norm: 0}", "{max_norm: 1, foreach: 2}", "{max_norm: 1"])
@pytest.mark.parametrize("model", ["CLIPRec", "BPR"])
def test_gradients_are_clipped_by_what_torch_takes(model, written):
    with pytest.raises(InputError, match="clip_grad_norm '{.*mapping such as"):
        config(model, "ml-100k", clip_grad_norm=written)


def test_arguments_of_somebody_elses_program_are_left_alone(monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest", "-k", "x", "--cov=recbole_mm", "--encoder=open_clip:tiny"])
    assert config(dataset="other")["encoder"] == "open_clip:tiny"


def test_recboles_models_keep_recboles_defaults():
    stock = config("BPR", "ml-100k")
    assert (stock["topk"], stock["valid_metric"], stock["epochs"], stock["train_batch_size"]) == ([10], "MRR@10", 300, 2048)
    assert "encoder" not in stock


def test_the_loss_decides_about_negatives():
    assert config()["train_neg_sample_args"]["distribution"] == "none"
    paired = config(loss_type="BPR")
    assert paired["train_neg_sample_args"]["distribution"] == "uniform" and paired["MODEL_INPUT_TYPE"] == InputType.PAIRWISE


def test_a_subclass_of_the_users_inherits_its_parents_properties():
    class Mine(CLIPRec):
        pass

    read = config(Mine)
    assert read.model_class is Mine and read["model"] == "Mine"
    assert read["loss_type"] == "SSM" and read["train_neg_sample_args"]["distribution"] == "none"


def test_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert config(gpu_id="0")["device"].type == "cpu" and os.environ["CUDA_VISIBLE_DEVICES"] == "3", "use_gpu: False means the CPU"
    monkeypatch.setattr("recbole_mm.parallel.device.USERS_GPUS", "3")
    MultiModalConfig("CLIPRec", "demo")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3", "the user's choice of GPU stands"
    MultiModalConfig("CLIPRec", "demo", config_dict={"gpu_id": "1"})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize("dataset", ["ml-100k", "other"])
@pytest.mark.parametrize("model", ["BPR", "LightGCN", "SASRec", "GRU4RecF", "FM", "DIN", "KGAT", "ItemKNN"])
def test_recboles_models_get_recboles_configuration(model, dataset):
    extra = {"train_neg_sample_args": None} if model in ("SASRec", "GRU4RecF") else {}
    stock = Config(model, dataset, config_dict={"use_gpu": False, "gpu_id": "", **extra}).final_config_dict
    ours = config(model, dataset, gpu_id="", **extra).final_config_dict
    masks = model not in ("SASRec", "GRU4RecF", "DIN")
    neutral = {"mask_valid_items": True, "negative_items": "all", "cold_item_ratio": 0, "cold_items": None, "resume": None, "plugins": None,
               "screen": "normal", "refit": False, "fast_loop": True, "mask_history": masks}  # fmt: skip
    if (model, dataset) == ("GRU4RecF", "other"):
        neutral["load_col"] = {**stock["load_col"], "item": ["item_id", *stock["selected_features"]]}
    assert {**ours, "eval_batch_size": None} == {**stock, **neutral, "eval_batch_size": None}


def test_paths_may_be_paths(tmp_path):
    keys = ("resume", "cold_items", "cache_dir", "checkpoint_dir", "data_path")
    read = config(**{key: tmp_path / key for key in keys})
    assert all(read[key] == str(tmp_path / key) for key in keys[:-1]) and read["data_path"].startswith(str(tmp_path))


def test_the_callers_dict_is_left_as_it_was():
    given = {"use_gpu": False, "epochs": "3", "text_field": "title,tags"}
    assert MultiModalConfig("CLIPRec", "demo", config_dict=given)["epochs"] == 3
    assert given == {"use_gpu": False, "epochs": "3", "text_field": "title,tags"}


def test_from_final_gives_the_same_configuration():
    first = config(seed=7)
    again = MultiModalConfig.from_final(first.final_config_dict)
    assert again.final_config_dict == first.final_config_dict and again.model_class is CLIPRec
