"""Which keys exist, and which belong to other models."""

import pytest
import yaml
from recbole.model.general_recommender import BPR

from recbole_mm.config.kinds import COUNT, Key
from recbole_mm.config.known_keys import foreign_keys, our_keys, recbole_keys
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.properties import keys_of_file, properties_dir, recbole_properties
from recbole_mm.config.registry import get_model
from recbole_mm.errors import InputError
from recbole_mm.model import OUR_MODELS
from recbole_mm.model.cliprec import CLIPRec


def config(model="CLIPRec", dataset="demo", files=None, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, dataset, files, {"use_gpu": False, **keys})


def test_our_keys_are_ours():
    assert {"encoder", "encoder_training", "text_field", "image_dir", "use_id", "contrastive_weight"} <= our_keys()
    assert {"epochs", "learning_rate", "topk", "embedding_size"} <= recbole_keys()
    assert not our_keys() & recbole_keys()


def test_unknown_keys():
    with pytest.raises(InputError, match="'encoder_training'"):
        config(encoder_trainning="end2end")
    with pytest.raises(InputError, match="unknown key 'nonsense'"):
        config(nonsense=1)
    with pytest.raises(InputError, match="unknown key 'nonsense'"):
        config("BPR", "ml-100k", nonsense=1)
    with pytest.raises(InputError, match="'encoder_training'"):
        config("BPR", "ml-100k", encoder_trainning="end2end")


@pytest.mark.parametrize("model", ["CLIPRec", "BPR"])
def test_all_unknown_keys_are_named_at_once_with_a_suggestion_each(model):
    says = r"unknown keys 'epocs' \(did you mean 'epochs'\?\), 'xyzzy', 'neg_sampling' \(which is train_neg_sample_args in RecBole 1.2\)"
    with pytest.raises(InputError, match=says):
        config(model, epocs=3, xyzzy=1, neg_sampling=None)


@pytest.mark.parametrize("model", ["CLIPRec", "BPR"])
def test_keys_that_follow_from_others_cannot_be_set(model, monkeypatch):
    says = "unknown key 'xyzzy'; device follows from use_gpu and gpu_id, and cannot be set; config_files follows from --config_files"
    with pytest.raises(InputError, match=says):
        config(model, device="cuda:1", xyzzy=1, config_files=["a.yaml"])
    with pytest.raises(InputError, match="device follows from use_gpu"):
        MultiModalConfig(model, "demo", None, None, ["--device=cpu"])
    monkeypatch.setattr("sys.argv", ["a_program.py", "--device=cuda:1", "--config_files=a.yaml"])
    assert config(model)["device"].type == "cpu", "a program of the user's own may have such options"


@pytest.mark.parametrize(
    ("model", "keys", "facts"),
    [
        ("VBPR", {"id_dropout": 0.1}, "VBPR has no id_dropout, a key of CLIPRec"),
        ("LATTICE", {"use_id": False}, "LATTICE has no use_id, a key of CLIPRec"),
        ("VBPR", {"contrastive_weight": 0.5}, "VBPR has no contrastive_weight, a key of CLIPRec"),
        ("VLMoRec", {"knn_k": 5}, "VLMoRec has no knn_k, a key of "),
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
    monkeypatch.setattr("sys.argv", ["x", f"--{key}={value}"])
    with pytest.raises(InputError, match=facts):
        config(model)


@pytest.mark.parametrize(
    ("model", "keys", "facts"),
    [
        ("BPR", {"use_id": False}, "BPR has no use_id, a key of CLIPRec"),
        ("BPR", {"encoder": "open_clip:tiny"}, "BPR has no encoder, a key of recbole_mm's models"),
        ("Pop", {"text_field": ["title"]}, "Pop has no text_field, a key of recbole_mm's models"),
        ("BPR", {"n_layers": 3}, "BPR has no n_layers, a key of BM3, "),
        ("LightGCN", {"mlp_hidden_size": [64]}, "LightGCN has no mlp_hidden_size, a key of AutoInt, DCN, DCNV2, DIEN and "),
        ("BPR", {"pretrain_epochs": 3}, "BPR has no pretrain_epochs, a key of RaCT, S3Rec"),
        ("BPR", {"mask_ratio": 0.2}, "BPR has no mask_ratio, a key of BERT4RecM, BERT4Rec, S3Rec"),
    ],
)
def test_for_recboles_models_too(model, keys, facts, tmp_path):
    (key, value), file = *keys.items(), tmp_path / "shared.yaml"
    file.write_text(yaml.safe_dump(keys))
    for shared in (config(model, files=[str(file)]), config(model, **keys)):
        assert key not in shared and facts in shared.notices[0]
    with pytest.raises(InputError, match=facts):
        MultiModalConfig(model, "demo", None, {"use_gpu": False}, [f"--{key}={value}".replace(" ", "")])


def test_recboles_models_keep_every_key_that_they_read():
    for model in sorted(file.stem for file in (recbole_properties() / "model").glob("*.yaml")):
        if model not in ("lightgbm", "xgboost"):
            keys = dict.fromkeys(keys_of_file(recbole_properties() / "model" / f"{model}.yaml"))
            assert not foreign_keys(keys, get_model(model)), model
    assert not foreign_keys({"q": 2, "alpha": 0.4}, get_model("AsymKNN"))
    assert not foreign_keys({"n_enc_epochs": 2, "tail_ratio": 0.4, "kg_reverse_r": True}, get_model("RecVAE"))
    assert not foreign_keys({"transform": "mask_itemseq", "mask_ratio": 0.2}, get_model("SASRec"))


def test_a_model_on_recboles_classes_has_the_keys_that_it_reads_declares_or_inherits():
    class Mine(BPR):
        keys = {"my_count": Key(3, COUNT, "A count.")}
        default_settings = {"my_alpha": 0.5}

        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.beta = config["my_beta"]

    read = config(Mine, my_beta=2)
    assert (read["my_beta"], read["my_alpha"], read["my_count"], read["embedding_size"]) == (2, 0.5, 3, 64) and not read.notices
    for keys, says in (({"my_gamma": 1}, "'my_gamma'"), ({"my_count": 0}, "my_count '0': a positive whole number")):
        with pytest.raises(InputError, match=says):
            config(Mine, **keys)


def test_models_have_their_bases_keys_and_all_of_them_recboles():
    class Mine(CLIPRec):
        default_settings = {"knn_k": 3}

    assert not config(Mine, knn_k=5, use_id=False, learning_rate=0.1, weight_decay=0.1, encoder="open_clip:tiny").notices
    (notice,) = config(Mine, lambda_coeff=0.5).notices
    assert "lambda_coeff, a key of LATTICE; a model of your own names its keys in its class" in notice
    for model in OUR_MODELS:
        own = yaml.safe_load((properties_dir() / "model" / f"{model}.yaml").read_text())
        assert not config(model, **own).notices


def test_a_model_of_the_users_may_have_keys_of_its_own():
    class Mine(CLIPRec):
        default_settings = {"my_alpha": 0.5, "epochs": 3}

    assert config(Mine)["my_alpha"] == 0.5 and config(Mine, my_alpha=0.7)["my_alpha"] == 0.7 and config(Mine)["epochs"] == 3
    with pytest.raises(InputError, match="'my_alpha'"):
        config(Mine, my_alfa=1)


def test_a_model_of_the_users_may_have_keys_that_recboles_models_have(monkeypatch):
    class NGCF(CLIPRec):
        pass

    read = config(NGCF, node_dropout=0.3, low_rank=32)
    assert (read["node_dropout"], read["low_rank"]) == (0.3, 32) and not read.notices
    monkeypatch.setattr("sys.argv", ["x", "--low_rank=16"])
    assert config(NGCF)["low_rank"] == 16
