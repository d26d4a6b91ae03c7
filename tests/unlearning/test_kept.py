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
    "BPR by time": ("BPR", {"eval_args": BY_TIME}),
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


def test_nobody_is_filtered_out_because_others_went(shop):
    """Of i1's buyers some go, so that it has fewer than a k-core asks for; what the filter left out before stays out."""
    bought = Counter(item for _, item, _ in shop.orders)
    rare, least = min(bought, key=bought.get), min(bought.values()) + 1
    file = train("VBPR", shop, **RANDOM, item_inter_num_interval=f"[{least},inf)")
    _, _, dataset, *loaders = load_data_and_model(str(file))
    assert rare not in dataset.field2token_id["item_id"]
    next_rare = min((item for item in bought if bought[item] >= least), key=bought.get)
    users = tuple(user for user, item, _ in shop.orders if item == next_rare)[:3]
    kept = kept_run(str(file), forgotten_of(file, users))
    now, before = ([pairs_of(loader) for loader in parts] for parts in (kept.loaders, loaders))
    assert now == [Counter({pair: n for pair, n in part.items() if pair[0] not in users}) for part in before]
    assert any(item == next_rare for part in now for _, item in part)


def test_benchmark_files_stay_the_parts_that_they_are(shop):
    orders = {"train": shop.orders[:80], "valid": shop.orders[80:100], "test": [*shop.orders[100:], shop.orders[0]]}
    for part, rows in orders.items():
        lines = ["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item, _ in rows)]
        (shop.folder / f"shop.{part}.inter").write_text("\n".join(lines) + "\n")
    file = train("VBPR", shop, benchmark_filename=[*orders], load_col={"inter": ["user_id", "item_id"]})
    named = shop.orders[1][:2]
    kept = kept_run(str(file), forgotten_of(file, ("u3",), (), (named,)))
    wanted = [Counter(order[:2] for order in rows if order[0] != "u3" and order[:2] != named) for rows in orders.values()]
    assert [pairs_of(loader) for loader in kept.loaders] == wanted


def test_what_was_trained_on_is_never_tested(shop, capsys):
    """Rows have come since, so the split at random is another one."""
    file = train("VBPR", shop, **RANDOM)
    trained = pairs_of(load_data_and_model(str(file))[3])
    shop.with_orders(("u1", "i0", 990), ("u2", "i0", 991)).shuffled().write()
    capsys.readouterr()
    kept = kept_run(str(file), forgotten_of(file, ("u3",)))
    assert "was trained on, and the split is another one" in capsys.readouterr().out
    now = [pairs_of(loader) for loader in kept.loaders]
    assert not trained.keys() & (now[1].keys() | now[2].keys()) and now[1] and now[2]
    assert now[0].keys() >= {pair for pair in trained if pair[0] != "u3"}
