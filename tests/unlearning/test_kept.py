"""The run over what stays: the others' interactions are where they were, and the model is the checkpoint's."""

from collections import Counter

import pytest
import torch

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.unlearning.kept import kept_run
from tests.training.moving_shop import BY_TIME, Shop, draw_shop, train
from tests.unlearning.forgetting import forgotten_of, pairs_of

SEQUENCES = {"train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 8, "eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}}
RANDOM = {"eval_args": {"order": "RO", "group_by": None, "split": {"RS": [0.6, 0.2, 0.2]}}}
LAST = {"eval_args": {"order": "TO", "group_by": "user", "split": {"LS": "valid_and_test"}}}
BY_MOMENT = {"eval_args": {"order": "TO", "group_by": "user", "split": {"TS": [0.6, 0.2, 0.2]}}}
RUNS = {
    "VBPR at random": ("VBPR", {**RANDOM, "cold_item_ratio": 0.2}),
    "CLIPRec by time": ("CLIPRec", {"eval_args": BY_TIME}),
    "BPR, the last ones": ("BPR", LAST),
    "BPR by RecBole alone": ("BPR", {**RANDOM, "fast_loop": False}),
    "LightGCN after a moment": ("LightGCN", BY_MOMENT),
    "SASRec": ("SASRec", SEQUENCES),
    "SASRecM": ("SASRecM", SEQUENCES),
    "SASRecM, a row per prefix": ("SASRecM", {**SEQUENCES, "sequence_rows": "prefixes"}),
}


@pytest.fixture
def shop(tmp_path) -> Shop:
    return draw_shop(tmp_path / "data")


@pytest.mark.parametrize("run", RUNS)
def test_the_others_are_in_the_parts_that_they_were_in(shop, run):
    name, keys = RUNS[run]
    file = train(name, shop, epochs=1, **keys)
    _, _, dataset, *loaders = load_data_and_model(str(file))
    before = [pairs_of(loader) for loader in loaders]
    named = next(pair for pair in before[0] if pair[0] != "u3" and pair[1] != "i5")
    forgotten = forgotten_of(file, ("u3",), ("i5",), (named,))
    kept = kept_run(str(file), forgotten)
    now = [pairs_of(loader) for loader in kept.loaders]
    goes = {(user, item) for user, item, _ in shop.orders if user == "u3" or item == "i5" or (user, item) == named}
    assert now == [Counter({pair: n for pair, n in part.items() if pair not in goes}) for part in before]
    names = [dataset.field2id_token[field][ids] for field, ids in zip(("user_id", "item_id"), forgotten.pairs.T, strict=True)]
    assert sorted(zip(*names, strict=True)) == sorted(goes)
    assert len(forgotten.pairs_of("test")) == len(goes & before[2].keys()) and len(forgotten.pairs_of("valid")) == len(
        goes & before[1].keys()
    )
    assert kept.dataset.field2id_token["user_id"].tolist() == dataset.field2id_token["user_id"].tolist()
    for key, value in load_checkpoint(file, pickled=True)["state_dict"].items():
        torch.testing.assert_close(kept.model.state_dict()[key], value, rtol=0, atol=0)
