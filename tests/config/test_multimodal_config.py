"""MultiModalConfig: precedence, types, and whose arguments it reads."""

import os

import pytest
import yaml
from recbole.config import Config
from recbole.utils import InputType

from recbole_mm.config.known_keys import our_keys, recbole_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.properties import properties_dir
from recbole_mm.errors import InputError
from recbole_mm.model import OUR_MODELS
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


@pytest.mark.parametrize("written", ["{max_nrom: 1}", "{norm_type: 2}", "{max_norm: 0}", "{max_norm: 1, foreach: 2}", "{max_norm: 1"])
@pytest.mark.parametrize("model", ["CLIPRec", "BPR"])
def test_gradients_are_clipped_by_what_torch_takes(model, written):
    with pytest.raises(InputError, match="clip_grad_norm '{.*mapping such as"):
        config(model, "ml-100k", clip_grad_norm=written)


def test_arguments_of_somebody_elses_program_are_left_alone(monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest", "-k", "x", "--cov=recbole_mm", "--encoder=open_clip:tiny"])
    assert config(dataset="other")["encoder"] == "open_clip:tiny"


def test_a_value_may_hold_an_equals_sign_and_is_never_evaluated(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--encoder=separate:image=a,text=b", "--image_dir=__import__('os').getcwd()"])
    read = config()
    assert read["encoder"] == "separate:image=a,text=b" and read["image_dir"] == "__import__('os').getcwd()"


def test_recboles_models_keep_recboles_defaults():
    stock = config("BPR", "ml-100k")
    assert (stock["topk"], stock["valid_metric"], stock["epochs"], stock["train_batch_size"]) == ([10], "MRR@10", 300, 2048)
    assert "encoder" not in stock


def test_our_keys_are_ours():
    assert {"encoder", "encoder_training", "text_field", "image_dir", "use_id", "contrastive_weight"} <= our_keys()
    assert {"epochs", "learning_rate", "topk", "embedding_size"} <= recbole_keys()
    assert not our_keys() & recbole_keys()


def test_unknown_keys():
    with pytest.raises(InputError, match="'encoder_training'"):
        config(encoder_trainning="end2end")
    with pytest.raises(InputError, match="unknown key 'nonsense'"):
        config(nonsense=1)
    assert config("BPR", "ml-100k", some_key_of_their_own=1)["some_key_of_their_own"] == 1
    with pytest.raises(InputError, match="'encoder_training'"):
        config("BPR", "ml-100k", encoder_trainning="end2end")


@pytest.mark.parametrize(
    ("model", "keys", "facts"),
    [
        ("VBPR", {"loss_type": "SSM"}, "VBPR has no loss_type, a key of CLIPRec"),
        ("LATTICE", {"use_id": False}, "LATTICE has no use_id, a key of CLIPRec"),
        ("VBPR", {"contrastive_weight": 0.5}, "VBPR has no contrastive_weight, a key of CLIPRec"),
        ("VLMoRec", {"knn_k": 5}, "VLMoRec has no knn_k, a key of FREEDOM, LATTICE, MGCN"),
        ("CLIPRec", {"mf_train": False}, "CLIPRec has no mf_train, a key of NeuMF"),
        ("VBPR", {"mlp_hidden_size": [64]}, "VBPR has no mlp_hidden_size, a key of AutoInt, DCN, DCNV2, DIEN and "),
    ],
)
def test_keys_of_other_models_are_refused_with_the_model_and_else_left_aside(model, keys, facts, tmp_path, monkeypatch):
    """A file, or a program's dict, may serve many models, RecBole's among them: changing the model's name alone has to do."""
    (key, value), file = *keys.items(), tmp_path / "shared.yaml"
    file.write_text(f"{key}: {value}\nepochs: 3\n")
    for shared in (config(model, files=[str(file)]), config(model, epochs=3, **keys)):
        assert key not in shared and shared["epochs"] == 3 and shared["train_neg_sample_args"] == config(model)["train_neg_sample_args"]
        (notice,) = shared.notices
        assert facts in notice
    assert config("BPR", "ml-100k", [str(file)], **keys)[key] == value
    monkeypatch.setattr("sys.argv", ["x", f"--{key}={value}"])
    with pytest.raises(InputError, match=facts):
        config(model)


def test_models_have_their_bases_keys_and_all_of_them_recboles():
    class Mine(CLIPRec):
        default_settings = {"knn_k": 3}

    assert not config(Mine, knn_k=5, use_id=False, learning_rate=0.1, weight_decay=0.1, encoder="open_clip:tiny").notices
    (notice,) = config(Mine, lambda_coeff=0.5).notices
    assert "lambda_coeff, a key of LATTICE; a model of your own names its keys in its class" in notice
    for model in OUR_MODELS:
        own = yaml.safe_load((properties_dir() / "model" / f"{model}.yaml").read_text())
        assert not config(model, **own).notices


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
    neutral = {"mask_valid_items": True, "negative_items": "all", "cold_item_ratio": 0, "cold_items": None, "resume": None}
    assert {**ours, "eval_batch_size": None} == {**stock, **neutral, "eval_batch_size": None}


def test_a_model_of_the_users_may_have_keys_of_its_own():
    class Mine(CLIPRec):
        default_settings = {"my_alpha": 0.5, "epochs": 3}

    assert config(Mine)["my_alpha"] == 0.5 and config(Mine, my_alpha=0.7)["my_alpha"] == 0.7 and config(Mine)["epochs"] == 3
    with pytest.raises(InputError, match="'my_alpha'"):
        config(Mine, my_alfa=1)


def test_a_model_of_the_users_may_have_keys_that_recboles_models_have(monkeypatch):
    class NGCF(CLIPRec):
        pass

    read = config(NGCF, node_dropout=0.3, hidden_size=32)
    assert (read["node_dropout"], read["hidden_size"]) == (0.3, 32) and not read.notices
    monkeypatch.setattr("sys.argv", ["x", "--hidden_size=16"])
    assert config(NGCF)["hidden_size"] == 16


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
