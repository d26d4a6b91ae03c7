"""Partners are what the same users consumed, drawn as documented, and from the training part alone."""

import numpy as np
import pytest
import torch

from recbole_mm.finetune import choose_objectives
from recbole_mm.finetune.copurchases import Copurchases
from recbole_mm.finetune.units import generator_for
from recbole_mm.testing.planted import built
from tests.finetune.shops import staged
from tests.finetune.test_finetune_units import made

BASKETS = {1: [1, 2, 3], 2: [2, 3], 3: [4, 2, 2], 4: [5], 5: [6, 1], 6: [7, 8]}
"""user -> items. Item 6 has item 1's content; unit 7 (item 8) is held out."""


def baskets(tokens=None):
    units = made(["a", "b", "c", "d", "e", "a", "g", "h"])
    users, items = (np.array(column) for column in zip(*((u, i) for u, own in BASKETS.items() for i in own), strict=True))
    among = torch.tensor([name != ("h",) for name in units.names])
    return units, Copurchases(users, items, tokens or ["[PAD]", "u1", "u2", "u3", "u4", "u5", "u6"], units, among)


def test_who_has_a_partner():
    units, copurchases = baskets()
    paired = {units.names[unit][0] for unit in copurchases.paired().nonzero().squeeze(1).tolist()}
    assert paired == {"a", "b", "c", "d"}, "e is alone, a twice is one unit, g's other is held out"


def test_partners_are_drawn_by_user_then_by_unit():
    units, copurchases = baskets()
    unit_of = {name[0]: i for i, name in enumerate(units.names)}
    chosen = torch.tensor([unit_of[name] for name in "abcd"] * 6000)
    drawn = copurchases.partners(chosen, generator_for("draws"))
    shares = torch.zeros(4, len(units)).index_put((torch.arange(4).repeat(6000), drawn), torch.tensor(1 / 6000), accumulate=True)
    expected = {"a": {"b": 1 / 2, "c": 1 / 2}, "b": {"a": 1 / 6, "c": 1 / 6 + 1 / 3, "d": 1 / 3},
                "c": {"a": 1 / 4, "b": 3 / 4}, "d": {"b": 1}}  # fmt: skip
    for row, own in zip(shares, expected.values(), strict=True):
        by_hand = torch.zeros(len(units))
        for name, share in own.items():
            by_hand[unit_of[name]] = share
        torch.testing.assert_close(row, by_hand, rtol=0, atol=0.03)
    assert torch.equal(drawn, copurchases.partners(chosen, generator_for("draws")))


def test_together_is_what_some_user_has_both_of():
    units, copurchases = baskets()
    everything = torch.arange(len(units))
    sets = [{units.names[int(units.of_item[i])][0] for i in own if i != 8} for own in BASKETS.values()]
    by_hand = [[left == right or any({left[0], right[0]} <= own for own in sets) for right in units.names] for left in units.names]
    assert copurchases.together(everything, everything).tolist() == by_hand


def test_the_order_of_users_and_interactions_is_their_tokens():
    renumbered = {1: 6, 6: 1}
    units, copurchases = baskets()
    users, items = zip(*((renumbered.get(u, u), i) for u, own in reversed(BASKETS.items()) for i in reversed(own)), strict=True)
    among = torch.tensor([name != ("h",) for name in units.names])
    other = Copurchases(np.array(users), np.array(items), ["[PAD]", "u6", "u2", "u3", "u4", "u5", "u1"], units, among)
    assert all(torch.equal(a, b) for a, b in zip(copurchases.data().values(), other.data().values(), strict=True))


@pytest.mark.parametrize("cold", [{}, {"cold_item_ratio": 0.2}])
def test_validation_test_and_cold_interactions_never_enter(cold, shop, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        choose_objectives, "Copurchases", lambda users, items, *rest: seen.append((users, items)) or Copurchases(users, items, *rest)
    )
    keys = {"finetune_weights": {"interaction": 1}, **cold}
    loop = staged(shop, tmp_path, **keys)
    _, _, *loaders = built(shop, **keys)
    pairs = [set(zip(*(loader.dataset.inter_feat[field].tolist() for field in ("user_id", "item_id")), strict=True)) for loader in loaders]
    ((users, items),) = seen
    assert set(zip(users.tolist(), items.tolist(), strict=True)) == pairs[0]
    assert pairs[1] and pairs[2] and not pairs[0] & (pairs[1] | pairs[2])
    matrix = loop.objectives["interaction"].copurchases.of_user
    units_of = [{int(loop.units.of_item[item]) for _, item in part} for part in pairs]
    assert set(matrix.indices.tolist()) <= units_of[0] - set(loop.held_out.units.tolist())
    assert matrix.nnz <= len(pairs[0])
