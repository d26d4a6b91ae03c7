"""What a sequential evaluation masks, with either loop, and which histories cold items are kept out of."""

import logging

import pytest
import torch

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.evaluation.protocol import evaluate_parts
from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built

KEYS = {"encoder": None, "train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 3}
MODELS = {"SASRec": {}, "SASRecM": {"modalities": []}}
SEQUENCES = {"u": "a b c d e f", "v": "c a c a", "w": "b d f b e"}
"""v and w come back to items, and the histories of u are longer than three items."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "sequences"
    folder.mkdir()
    rows = [f"{user}\t{item}\t{time}" for user, items in SEQUENCES.items() for time, item in enumerate(items.split())]
    (folder / "sequences.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    return folder


def loaders(shop, model="SASRec", **keys):
    return built(shop, model, **{**KEYS, **MODELS[model], "topk": [2], "valid_metric": "Recall@2", **keys})


def masked(loader) -> dict[tuple[str, str], set[str]]:
    """User and what follows -> what is masked."""
    data, found = loader._dataset, {}
    items, users = data.field2id_token["item_id"], data.field2id_token["user_id"]
    for batch, history, rows, targets in loader:
        assert rows.tolist() == list(range(len(batch)))
        names = list(zip(users[batch["user_id"]], items[targets], strict=True))
        found |= {name: set() for name in names}
        for row, item in zip(*(of.tolist() for of in history), strict=True):
            found[names[row]].add(items[item])
    return found


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("model", "size"), [("SASRec", 1), ("SASRec", 2), ("SASRecM", 99)])
def test_all_that_a_user_had_before_is_masked_but_for_what_follows(shop, model, fast, size):
    _, _, _, valid, test = loaders(shop, model, mask_history=True, fast_loop=fast, eval_batch_size=size)
    assert masked(valid) == {("u", "e"): set("abcd"), ("v", "c"): set("a"), ("w", "b"): set("df")}
    assert masked(test) == {("u", "f"): set("abcde"), ("v", "a"): set("c"), ("w", "e"): set("bdf")}
    assert len(test._dataset.inter_feat["item_id_list"][0].nonzero()) <= 3


def test_several_items_of_a_user_in_one_part(shop):
    """What comes later in the same part is no history yet."""
    *_, test = loaders(shop, mask_history=True, eval_args={"split": {"RS": [0.4, 0.2, 0.4]}})
    found = masked(test)
    assert found["u", "e"] == set("abcd") and found["u", "f"] == set("abcde")


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_masked_items_are_not_ranked(shop, name, fast):
    results = {}
    for mask in (True, False):
        config, model, train, _, test = loaders(
            shop, name, mask_history=mask, fast_loop=fast, metrics=["MRR"], valid_metric="MRR@6", topk=[6]
        )
        scores = torch.tensor([{"a": 6.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 2.0, "f": 1.0}.get(item, 9.0) for item in items_of(train)])
        model.full_sort_predict = lambda batch, scores=scores: scores.repeat(len(batch), 1)
        trainer = build_trainer(config, model)
        trainer.eval_collector.data_collect(train)
        results[mask] = trainer.evaluate(test, load_best_model=False)["mrr@6"]
    assert results[True] == pytest.approx((1 / 1 + 1 / 1 + 1 / 3) / 3, abs=1e-4), "u: f is left; v: a, b, ...; w: a, c, e"
    assert results[False] == pytest.approx((1 / 6 + 1 / 1 + 1 / 5) / 3, abs=1e-4)


def items_of(loader) -> list[str]:
    return loader._dataset.field2id_token["item_id"].tolist()


def test_rows_in_any_order(shop):
    """Processes that share an evaluation take some rows each."""
    *_, test = loaders(shop, mask_history=True)
    whole, index = masked(test), [2, 0, 1]
    _, history, *_ = test.collate_fn(index)
    batch = {row: {items_of(test)[item] for item in history[1][history[0] == row].tolist()} for row in range(3)}
    assert [batch[row] for row in range(3)] == [list(whole.values())[place] for place in index]


def rows_of(part) -> set[tuple[str, str]]:
    """History and what follows it, as letters."""
    items, rows = part.field2id_token["item_id"], part.inter_feat
    assert ((rows["item_id_list"] != 0).sum(1) == rows["item_length"]).all()
    lists = zip(rows["item_id_list"].tolist(), rows["item_length"].tolist(), rows["item_id"].tolist(), strict=True)
    return {("".join(items[own[:length]]), items[after]) for own, length, after in lists}


def test_cold_items_are_in_no_history_of_training(shop, tmp_path):
    (tmp_path / "cold.txt").write_text("a\n")
    _, _, train, valid, test = loaders(shop, cold_items=str(tmp_path / "cold.txt"))
    assert rows_of(train._dataset) == {("b", "c"), ("bc", "d"), ("b", "d"), ("bd", "f")}
    assert ("bcd", "e") in rows_of(valid._dataset) and ("cac", "a") in rows_of(test._dataset), "users do have them later on"
    times = train._dataset.inter_feat["timestamp_list"][train._dataset.inter_feat["item_length"] == 2]
    assert sorted(times.tolist()) == [[0, 1, 0], [1, 2, 0]], "the times go with their items"
    _, _, train, *_ = loaders(shop, "SASRecM", cold_items=str(tmp_path / "cold.txt"))
    (batch,) = train
    kept = {"".join(items_of(train)[item] for item in own if item) for own in batch["item_id_list"].tolist()}
    assert kept == {"bc", "bd"}, "the rows of users, without what follows them"


@pytest.mark.parametrize(("name", "fast"), [("SASRec", True), ("SASRec", False), ("SASRecM", True)])
@pytest.mark.parametrize("mask", [True, False])
def test_warm_and_cold_items_are_measured_apart(shop, tmp_path, mask, name, fast):
    (tmp_path / "cold.txt").write_text("a\n")
    keys = {"metrics": ["MRR"], "valid_metric": "MRR@6", "topk": [6], "cold_items": str(tmp_path / "cold.txt")}
    config, model, train, _, test = loaders(shop, name, mask_history=mask, fast_loop=fast, **keys)
    scores = torch.tensor([{"a": 6.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 2.0, "f": 1.0}.get(item, 9.0) for item in items_of(train)])
    model.full_sort_predict = lambda batch: scores.repeat(len(batch), 1)
    found = evaluate_parts(config, build_trainer(config, model), train, test)
    assert found["cold"]["mrr@6"] == 1 and found["warm"]["mrr@6"] == pytest.approx(
        (1 / 2 + 1 / 3) / 2 if mask else (1 / 6 + 1 / 5) / 2, abs=1e-4
    ), "the a that u had before the training was cut is unknown to it"


def config(model: str, argument: str | None = None, **keys) -> MultiModalConfig:
    return MultiModalConfig(model, "demo", None, {"use_gpu": False, **keys}, [argument] if argument else [])


def test_the_log_says_what_is_masked(shop, caplog):
    for mask, words in ((True, "histories masked"), (False, "histories not masked")):
        with caplog.at_level(logging.INFO):
            loaders(shop, mask_history=mask, state="INFO")
        assert [f"{words} (mask_history: {mask})" in line for line in caplog.messages].count(True) == 1
        caplog.clear()


@pytest.mark.parametrize("mask", [True, False])
def test_models_that_are_not_sequential_always_mask(mask):
    for model in ("BPR", "CLIPRec"):
        assert config(model)["mask_history"] is True and not config(model).notices
        shared = config(model, mask_history=mask)
        assert shared["mask_history"] is True and "a key of sequential models (all others mask" in shared.notices[0]
        with pytest.raises(InputError, match="has no mask_history, a key of sequential models"):
            config(model, f"--mask_history={mask}")
    assert config("SASRec", train_neg_sample_args=None)["mask_history"] is False


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"eval_args": {"mode": "uni10"}}, "ranking of all items"),
        ({"mask_valid_items": False}, "leave one of the two out"),
        ({"mask_history": "yes"}, "True, False"),
    ],
)
def test_what_cannot_be_masked_is_refused(keys, says):
    with pytest.raises(InputError, match=says):
        config("SASRec", **{"train_neg_sample_args": None, "mask_history": True, **keys})
