"""What RecBole's keys must hold, for our models and for RecBole's."""

import numpy as np
import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.recbole_kinds import kinds_of_model
from recbole_mm.errors import InputError

MODELS = ["CLIPRec", "BPR"]


def config(model: str, *written: str, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, "demo", None, {"use_gpu": False, **keys}, [f"--{pair}" for pair in written])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("seed=99999999999", "seed '99999999999': a whole number from 0 to 4294967295"),
        ("seed=-1", "seed '-1': a whole number from 0"),
        ("seed=1.5", "seed '1.5': a whole number from 0"),
        ("gpu_id=first", "gpu_id 'first': the number of a GPU"),
        ("gpu_id=-2", "gpu_id '-2'"),
        ("use_gpu=maybe", r"use_gpu 'maybe' is none of True, False"),
        ("state=LOUD", "state 'LOUD': one of DEBUG, INFO"),
        ("epochs=0", "epochs '0': a positive whole number"),
        ("epochs=2.5", "epochs '2.5'"),
        ("eval_step=often", "eval_step 'often': a whole number that is not negative"),
        ("stopping_step=-3", "stopping_step '-3'"),
        ("learner=adamx", "learner 'adamx': one of adam"),
        ("learning_rate=fast", "learning_rate 'fast': a number"),
        ("learning_rate=1e400", "learning_rate 'inf': a number"),
        ("weight_decay=[1]", "weight_decay"),
        ("loss_decimal_place=4.5", "loss_decimal_place '4.5'"),
        ("metric_decimal_place=all", "metric_decimal_place 'all'"),
        ("train_batch_size=big", "train_batch_size 'big'"),
        ("worker=-1", "worker '-1'"),
        ("shuffle=5", "shuffle '5' is none of True, False"),
        ("topk=0", "topk '0': a positive whole number, or a list"),
        ("topk=[10,-5]", "topk"),
        ("topk=10.5", "topk '10.5'"),
        ("topk=[]", "topk"),
        ("topk=ten", "topk 'ten'"),
        ("topk=True", "topk 'True'"),
        ("metrics=5", "metrics '5': a list of metrics"),
        ("metrics=[]", "metrics"),
        ("metrics=Recal,NDGC", r"no 'Recal' \(did you mean 'Recall'\?\), no 'NDGC' \(did you mean 'NDCG'\?\); there are .*ItemCoverage"),
        ("metrics=Recall,AUC", "metrics: Recall are for rankings, and AUC for labels"),
        ("valid_metric=Recal@10", r"'Recal' is not in metrics .*\(did you mean 'Recall'\?\)"),
        ("valid_metric_bigger=False", "valid_metric_bigger False: a bigger .* is better"),
        ("train_neg_sample_args=5", "train_neg_sample_args '5': a mapping such as"),
        ("train_neg_sample_args={distribution: gaussian}", "train_neg_sample_args .*uniform, popularity, none"),
        ("train_neg_sample_args={sample_num: 0}", "train_neg_sample_args"),
        ("train_neg_sample_args={sampel_num: 1}", "train_neg_sample_args"),
        ("train_neg_sample_args={dynamic: True}", "positive candidate_num"),
        ("log_wandb=True", "log_wandb: True needs the package wandb"),
        ("load_col=[user_id]", "load_col"),
        ("MAX_ITEM_LIST_LENGTH=0", "MAX_ITEM_LIST_LENGTH '0'"),
    ],
)
def test_nonsense_is_refused_with_what_may_stand_there(model, written, says):
    with pytest.raises(InputError, match=says):
        config(model, written)


def test_what_works_in_recbole_works():
    for written in ("gpu_id=0,1", "gpu_id=", "topk=20", "metrics=ndcg", "state=debug", "load_col=~", "seed=0", "eval_step=0"):
        metric = "NDCG@20" if written == "topk=20" else "NDCG@10"
        config("BPR", written, metrics=["NDCG"], valid_metric=metric)
    drawn = {"embedding_size": np.int64(8), "learning_rate": np.float64(0.1), "topk": [np.int64(5)], "shuffle": np.bool_(False)}
    assert config("BPR", valid_metric="MRR@5", **drawn)["embedding_size"] == 8, "as libraries for hyper-tuning draw them"
    for negatives in ("{distribution: popularity, alpha: 0.75, sample_num: 2}", "{dynamic: True, candidate_num: 2}"):
        assert config("BPR", f"train_neg_sample_args={negatives}")["train_neg_sample_args"]["sample_num"] in (1, 2)


def test_several_bad_values_are_named_at_once():
    with pytest.raises(InputError, match="epochs 'x': .*; topk '0': .*"):
        config("BPR", "epochs=x", "topk=0", "seed=3")


@pytest.mark.parametrize(
    ("model", "written", "says"),
    [
        ("LightGCN", "n_layers=many", "n_layers 'many': a whole number that is not negative"),
        ("LightGCN", "n_layers=2.5", "n_layers '2.5'"),
        ("LightGCN", "reg_weight=heavy", "reg_weight 'heavy': a number"),
        ("NeuMF", "mlp_hidden_size=big", "mlp_hidden_size 'big': a list of whole numbers"),
        ("NeuMF", "mf_train=5", "mf_train '5' is none of True, False"),
        ("SASRec", "loss_type=CEE", r"loss_type 'CEE' is none of BPR, CE \(did you mean 'CE'\?\)"),
        ("BPR", "embedding_size=-4", "embedding_size '-4': a positive whole number"),
    ],
)
def test_keys_of_recboles_models_hold_what_their_property_files_say(model, written, says):
    with pytest.raises(InputError, match=says):
        config(model, written)


def test_a_comment_that_its_own_default_contradicts_says_nothing():
    """The defaults of all models are accepted: see ``test_recboles_models_get_recboles_configuration`` for what they are."""
    assert {"n_layers", "reg_weight"} <= set(kinds_of_model("LightGCN")) and kinds_of_model("NoSuchModel") == {}


@pytest.mark.parametrize(
    ("model", "written", "says"),
    [
        *((model, "train_neg_sample_args=~", f"{model} with loss_type: BPR needs negatives, and train_neg_sample_args gives none; leave it")
          for model in ("VBPR", "LightGCNM", "FREEDOM", "MGCN", "LATTICE")),
        *((model, "train_neg_sample_args=~", f"{model} needs negatives, and train_neg_sample_args gives none; leave it out")
          for model in ("BPR", "LightGCN")),
        ("VBPR", "train_neg_sample_args={distribution: none}", "VBPR with loss_type: BPR needs negatives"),
        ("SASRec", "train_neg_sample_args={distribution: uniform}", "SASRec with loss_type: CE .* takes no negatives"),
    ],
)  # fmt: skip
def test_negatives_and_the_loss_go_together(model, written, says):
    with pytest.raises(InputError, match=says):
        config(model, written)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "NARM"])
def test_a_loss_over_all_items_leaves_the_default_negatives_out_and_says_so(model):
    read = config(model)
    assert read["train_neg_sample_args"]["distribution"] == "none"
    assert read.notices == [f"{model} with loss_type: CE takes no negatives: train_neg_sample_args is set to none"]
    assert not config(model, "train_neg_sample_args=~").notices
    if model != "BERT4Rec":
        with_pairs = config(model, "loss_type=BPR")
        assert with_pairs["train_neg_sample_args"]["distribution"] == "uniform" and not with_pairs.notices
        with pytest.raises(InputError, match=f"{model} needs negatives"):
            config(model, "loss_type=BPR", "train_neg_sample_args=~")


def test_a_model_of_a_users_own_needs_negatives_too():
    from recbole_mm.model.vbpr import VBPR

    class Mine(VBPR):
        pass

    with pytest.raises(InputError, match="Mine with loss_type: BPR needs negatives"):
        MultiModalConfig(Mine, "demo", None, {"train_neg_sample_args": None}, [])
    assert MultiModalConfig("BM3", "demo", None, None, [])["train_neg_sample_args"]["distribution"] == "none", "BM3 has none by itself"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("key", ["save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path"])
def test_recboles_pickles_are_refused_or_named(model, key):
    with pytest.raises(InputError, match=f"{key}: a data set is read from its files every time"):
        config(model, f"{key}=True")
    read = config(model, **{key: "x.pth"})
    assert not read[key] and key in read.notices[0]
    assert not config(model, **{key: False}).notices
