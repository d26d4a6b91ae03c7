"""How a model is evaluated is checked before anything is read."""

import pytest

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError


def config(model: str, eval_args: object, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, "demo", None, {"use_gpu": False, "eval_args": eval_args, **keys}, [])


@pytest.mark.parametrize("model", ["CLIPRec", "BPR"])
@pytest.mark.parametrize(
    ("written", "says"),
    [
        (5, "eval_args '5': a mapping such as"),
        (None, "eval_args '~': a mapping"),
        ({"splitt": {"RS": [8, 1, 1]}}, r"there is no 'splitt' \(did you mean 'split'\?\)"),
        ({"split": None}, "split 'None': one of"),
        ({"split": [0.8, 0.1, 0.1]}, "split .*: one of"),
        ({"split": {"RS": [8, 1, 1], "LS": "valid_only"}}, "split .*: one of"),
        ({"split": {"XX": [8, 1, 1]}}, "split by 'XX'"),
        ({"split": {"RS": [0.8, 0.2]}}, "split RS .*: three shares"),
        ({"split": {"RS": ["a", "b", "c"]}}, "split RS .*: three shares"),
        ({"split": {"RS": [0.9, -0.1, 0.2]}}, "split RS .*: three shares"),
        ({"split": {"RS": [0, 0.5, 0.5]}}, "split RS .*: three shares"),
        ({"split": {"RS": 0.8}}, "split RS .*: three shares"),
        ({"split": {"LS": "valid_and_tset"}}, r"split LS .*\(did you mean 'valid_and_test'\?\)"),
        ({"split": {"TS": [0.8, 0.1, 0.1]}}, "split TS .* add order: TO"),
        ({"split": {"TS": [0.8, 0.1, 0.1]}, "order": "RO"}, "split TS .* add order: TO"),
        ({"order": "random"}, "order 'random' is neither RO"),
        ({"order": 5}, "order '5'"),
        ({"group_by": "item"}, "group_by 'item' is neither user nor none"),
        ({"group_by": 3}, "group_by '3'"),
        ({"mode": "fll"}, "mode 'fll' is none of full, labeled"),
        ({"mode": "uni"}, "mode 'uni'"),
        ({"mode": "uni0"}, "mode 'uni0'"),
        ({"mode": 100}, "mode '100'"),
        ({"mode": {"valid": "full", "tset": "full"}}, "mode .* is none of"),
        ({"mode": {"valid": "full", "test": "some"}}, "mode 'some'"),
        ({"mode": "labeled"}, r"eval_args: mode labeled compares scores with labels, and metrics Recall, .* rank items: set mode: full"),
        ({"mode": {"valid": "labeled", "test": "full"}}, "eval_args: mode labeled"),
    ],
    ids=str,
)
def test_malformed_eval_args(model, written, says):
    with pytest.raises(InputError, match=says):
        config(model, written)


@pytest.mark.parametrize("split", [{"RS": [8, 1, 1]}, {"RS": [0.9, 0.0, 0.1]}, {"LS": "test_only"}, {"TS": [0.8, 0.1, 0.1]}])
def test_what_recbole_takes(split):
    for mode in ("uni100", "pop50", {"test": "full"}):
        assert config("BPR", {"split": split, "order": "TO", "group_by": None, "mode": mode})["eval_args"]["split"] == split


@pytest.mark.parametrize(
    ("model", "keys", "chosen"),
    [
        ("BPR", {"topk": 20}, "MRR@20"),
        ("BPR", {"topk": [5, 20]}, "MRR@5"),
        ("BPR", {"metrics": ["NDCG", "Recall"]}, "NDCG@10"),
        ("VBPR", {"metrics": "GAUC"}, "GAUC"),
        ("SASRec", {"metrics": ["ItemCoverage"], "topk": [3]}, "ItemCoverage@3"),
    ],
)
def test_where_nobody_says_what_selects_the_model_it_is_the_first_that_there_is(model, keys, chosen):
    read = MultiModalConfig(model, "shop", None, {"use_gpu": False, **keys}, [])
    assert read["valid_metric"] == chosen
    (told,) = [notice for notice in read.notices if notice.startswith(f"valid_metric is {chosen}: the default ")]
    assert told.endswith("@20 is not among metrics and topk" if model == "VBPR" else "MRR@10 is not among metrics and topk")
    assert not MultiModalConfig("BPR", "shop", None, {"topk": [5, 10]}, []).notices


def test_a_model_of_labels_under_full_ranking_names_the_mode():
    with pytest.raises(InputError, match="mode full ranks all items, and metrics AUC, LogLoss compare .* set mode: labeled"):
        MultiModalConfig("FM", "shop", None, {"use_gpu": False, "eval_args": {"order": "TO"}}, [])
    ranked = config("FM", {"mode": "full"}, metrics=["Recall"], valid_metric="Recall@10")
    assert ranked["eval_args"]["mode"]["test"] == "full"
