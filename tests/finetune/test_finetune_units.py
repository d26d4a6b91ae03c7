"""Units are distinct contents in an order of their own; what is held out was not seen in part."""

from types import SimpleNamespace

import pytest
import torch

from recbole_mm.finetune.units import Units, hold_out


def made(pictures, texts=None):
    """Units of items with these contents; item 0 is padding."""
    named = {"image": ["", *pictures], "text": ["", *(texts or [])]}
    modalities = ("image", "text") if texts is not None else ("image",)
    return Units(SimpleNamespace(modalities=modalities, digests=named.get))


def test_distinct_contents_in_their_own_order():
    units = made(["p2", "p1", "", "p2", "", "p1"], ["t1", "t1", "t9", "t1", "", ""])
    assert units.names == [("", "t9"), ("p1", ""), ("p1", "t1"), ("p2", "t1")]
    assert units.ids.tolist() == [3, 6, 2, 1] and units.of_item.tolist() == [-1, 3, 2, 0, 3, -1, 1]
    assert units.groups["image"].tolist() == [-1, 0, 0, 1] and units.groups["text"].tolist() == [1, -1, 0, 0]
    assert units.pairs.tolist() == [False, False, True, True]
    assert not made(["a", "b"]).pairs.any()


@pytest.mark.parametrize("seed", range(5))
def test_families_are_held_out_whole(seed):
    """Items 3k, 3k + 1, 3k + 2 are a family: a picture shared by two, a text by two."""
    pictures = [f"p{i // 3}-{max(i % 3, 1)}" for i in range(90)]
    texts = [f"t{i // 3}-{min(i % 3, 1)}" for i in range(90)]
    units = made(pictures, texts)
    held, trained, mixed = hold_out(units, units.pairs, 0.2, seed)
    assert not mixed and int(held.sum()) == 18 and torch.equal(trained, ~held)
    family = torch.tensor([int(name[0][1:].split("-")[0]) for name in units.names])
    assert set(family[held].tolist()).isdisjoint(family[~held].tolist())
    again, other = hold_out(units, units.pairs, 0.2, seed), hold_out(units, units.pairs, 0.2, seed + 100)
    assert torch.equal(held, again.held) and not torch.equal(held, other.held)


def test_what_shares_a_picture_or_a_text_with_a_held_out_pair_is_not_trained_on():
    """Items 3k + 1 have the text of 3k and no picture, items 3k + 2 its picture and no text."""
    pictures = [f"p{i // 3}" if i % 3 != 1 else "" for i in range(60)]
    texts = [f"t{i // 3}" if i % 3 != 2 else "" for i in range(60)]
    units = made(pictures, texts)
    held, trained, mixed = hold_out(units, units.pairs, 0.2, 0)
    assert not mixed and int(held.sum()) == 4 and int(trained.sum()) == 48
    for names in zip(*units.names, strict=True):
        seen = {name for name, here in zip(names, trained.tolist(), strict=True) if here and name}
        assert seen.isdisjoint(name for name, here in zip(names, held.tolist(), strict=True) if here)


def test_of_families_too_large_pairs_are_drawn_singly():
    units = made([f"p{i}" for i in range(40)], ["one text" if i % 2 else "another" for i in range(40)])
    held, trained, mixed = hold_out(units, units.pairs, 0.1, 0)
    assert mixed and int(held.sum()) == 4 and torch.equal(trained, ~held)


@pytest.mark.parametrize(("n", "share", "expected"), [(40, 0, 0), (3, 0.01, 2), (0, 0.5, 0), (1, 0.5, 0)])
def test_how_many_are_held_out(n, share, expected):
    units = made([f"p{i}" for i in range(n)] + ["picture alone"], [f"t{i}" for i in range(n)] + [""])
    held, trained, _ = hold_out(units, units.pairs, share, 0)
    assert int(held.sum()) == expected and not held[~units.pairs].any() and torch.equal(trained, ~held)
