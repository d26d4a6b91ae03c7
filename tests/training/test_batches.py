"""The quick batches are RecBole's, but for the draws."""

from types import SimpleNamespace

import pytest
import torch
from recbole.data.dataloader import TrainDataLoader

from recbole_mm.parallel.ranks import Ranks
from recbole_mm.testing.planted import built
from recbole_mm.training.batches import CommonBatches, QuickBatches

NEGATIVES = {"distribution": "uniform", "sample_num": 1}


def loader(folder, model="BPR", **keys):
    return built(folder, model, train_batch_size=24, **keys)[2]


def table(batches, *left_out: str) -> list[tuple]:
    """The rows of all batches in ascending order, as tuples of their columns' values."""
    batches = list(batches)
    columns = [torch.cat([batch[name] for batch in batches]).tolist() for name in sorted(batches[0].columns) if name not in left_out]
    return sorted(map(str, zip(*columns, strict=True)))


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("BPR", {}),
        ("BPR", {"train_neg_sample_args": NEGATIVES | {"sample_num": 3}}),
        ("NeuMF", {}),
        ("NeuMF", {"train_neg_sample_args": NEGATIVES | {"sample_num": 2}}),
        ("VBPR", {"encoder_training": "pretrained"}),
        ("CLIPRec", {"encoder_training": "pretrained", "loss_type": "SSM"}),
        ("BPR", {"shuffle": False}),
    ],
    ids=["pairs", "three negatives", "points", "three points", "ours", "none", "in order"],
)
def test_they_have_the_columns_and_the_positives_of_recboles(shop, model, keys):
    """The positives with all their columns are the same rows. Negatives are the items' rows, of as many."""
    quick, recboles = (loader(shop, model, fast_loop=fast, **keys) for fast in (True, False))
    assert type(quick) is QuickBatches and type(recboles) is (TrainDataLoader if model in ("BPR", "NeuMF") else CommonBatches)
    assert len(quick) == len(recboles) == len(list(quick))
    ours, theirs = list(quick), list(recboles)
    assert [len(batch) for batch in ours] == [len(batch) for batch in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert sorted(mine.columns) == sorted(other.columns)
        assert all(mine[name].shape == other[name].shape and mine[name].dtype == other[name].dtype for name in mine.columns)
        if keys.get("shuffle") is False:
            assert torch.equal(mine["user_id"], other["user_id"])
        if "label" in mine.columns:
            assert torch.equal(mine["label"], other["label"]), "positives come first"
            assert len(mine) % quick.times == 0 and torch.equal(
                mine["user_id"], mine["user_id"][: len(mine) // quick.times].repeat(quick.times)
            )
    drawn = [name for name in ours[0].columns if name.startswith("neg_")]
    kept = [[batch[batch["label"] == 1] for batch in batches] if "label" in batches[0].columns else batches for batches in (ours, theirs)]
    assert table(kept[0], *drawn) == table(kept[1], *drawn)
    prefix = "" if "label" in ours[0].columns else "neg_"
    for batch in ours if drawn or not prefix else ():
        for name, values in (quick._dataset.item_feat.interaction if quick._dataset.item_feat is not None else {}).items():
            assert torch.equal(batch[prefix + name], values[batch[prefix + "item_id"]])
    assert {name: quick._dataset.field2type.get(name) for name in ours[0].columns} == {
        name: recboles._dataset.field2type.get(name) for name in ours[0].columns
    }


def test_the_seed_decides_and_each_epoch_is_another(shop):
    first, second, other = loader(shop), loader(shop), loader(shop, seed=7)
    epochs = [[batch["neg_item_id"].tolist() for batch in epoch] for epoch in (first, second, first, other)]
    assert epochs[0] == epochs[1] and epochs[0] != epochs[2] and epochs[0] != epochs[3]


def test_an_epoch_that_is_left_early_does_not_change_the_next(shop, monkeypatch):
    monkeypatch.setattr("recbole_mm.training.batches.DRAWN_AT_ONCE", 24)
    left, straight = loader(shop), loader(shop)
    next(iter(left))
    list(straight)
    assert torch.equal(left.generator.get_state(), straight.generator.get_state())
    assert [batch["item_id"].tolist() for batch in left] == [batch["item_id"].tolist() for batch in straight]


def test_processes_have_the_same_batches_which_are_those_of_one(shop, monkeypatch):
    keys = {"encoder_training": "pretrained", "modalities": ["image"]}
    one = [batch["neg_item_id"] for batch in built(shop, "VBPR", train_batch_size=32, **keys)[2]]
    for rank in range(2):
        monkeypatch.setattr("recbole_mm.training.batches.Ranks", SimpleNamespace(current=lambda rank=rank: Ranks(rank, 2)))
        several = built(shop, "VBPR", train_batch_size=16, **keys)[2]
        assert all(torch.equal(batch["neg_item_id"], own) for batch, own in zip(several, one, strict=True))


@pytest.mark.parametrize(
    ("model", "keys", "told"),
    [
        ("BPR", {"train_neg_sample_args": NEGATIVES | {"dynamic": True, "candidate_num": 2}}, "dynamic"),
        ("BPR", {"repeatable": True}, "repeatable"),
        ("FM", {"train_neg_sample_args": NEGATIVES, "eval_args": {"mode": "full"}}, ""),
        ("GRU4Rec", {"train_neg_sample_args": None, "loss_type": "CE"}, ""),
    ],
)
def test_what_it_cannot_do_is_left_to_recbole(shop, caplog, model, keys, told):
    with caplog.at_level("INFO"):
        assert type(loader(shop, model, state="INFO", **keys)) is TrainDataLoader
    assert not told or "training batches are made by RecBole's loader (" in caplog.text and told in caplog.text


def test_popularity_can_be_kept_to_the_items_of_training(shop):
    keys = {
        "train_neg_sample_args": NEGATIVES | {"distribution": "popularity", "alpha": 1.0},
        "eval_args": {"split": {"RS": [0.2, 0.4, 0.4]}},
    }
    train = loader(shop, negative_items="training", **keys)
    seen = set(train.dataset.inter_feat["item_id"].tolist())
    drawn = {item for _ in range(20) for batch in train for item in batch["neg_item_id"].tolist()}
    assert drawn == seen and len(seen) < train.dataset.item_num - 1
