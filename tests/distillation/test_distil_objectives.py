"""The objectives of distilling have known answers, and a planted linear map is found."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from recbole_mm.distillation.agreement import shared_neighbours
from recbole_mm.distillation.linear_map import fitted
from recbole_mm.distillation.objectives import RELATION_TEMPERATURE, Relations, Rows

GENERATOR = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def batch_of(rows: dict[str, torch.Tensor], missing: dict[str, list[int]] | None = None) -> SimpleNamespace:
    """A batch of all units, in their order, with what a student makes of them."""
    n = len(next(iter(rows.values())))
    groups = {m: torch.arange(n) for m in rows}
    for m, lacking in (missing or {}).items():
        groups[m][lacking] = -1
    units = SimpleNamespace(groups=groups)
    having = {m: (groups[m] >= 0).nonzero().squeeze(1) for m in rows}
    return SimpleNamespace(rows=rows, units=units, chosen=torch.arange(n), having=having.get)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn():
    rows = {"image": drawn(9, 4), "text": drawn(9, 6)}
    batch = batch_of(rows, {"text": [2, 5]})
    assert float(Rows(batch.units, rows, {})(batch)) == 0 and float(Relations(batch.units, rows)(batch)) == 0


def test_rows_are_a_share_of_the_teachers_variance():
    taught = drawn(50, 5)
    batch = batch_of({"text": taught.mean(0).expand(50, 5)})
    assert float(Rows(batch.units, {"text": taught}, {})(batch)) == pytest.approx(1, abs=1e-5)
    half = batch_of({"text": (taught + taught.mean(0)) / 2})
    assert float(Rows(half.units, {"text": 3 * taught}, {"text": Times(3)})(half)) == pytest.approx(0.25, abs=1e-5)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.factor * rows


def test_units_that_lack_a_modality_have_no_say_in_it():
    taught, rows = {"image": drawn(8, 4), "text": drawn(8, 4)}, {"image": drawn(8, 4), "text": drawn(8, 4)}
    lacking = {"text": [0, 3]}
    batch = batch_of(rows, lacking)
    others = batch_of({**rows, "text": rows["text"].index_fill(0, torch.tensor([0, 3]), 7.0)}, lacking)
    for objective in (Rows(batch.units, taught, {}), Relations(batch.units, taught)):
        assert torch.equal(objective(batch), objective(others)) and objective.useful.all()
    alone = batch_of({"text": rows["text"]}, lacking)
    assert Rows(alone.units, {"text": taught["text"]}, {}).useful.tolist() == [False, True, True, False, True, True, True, True]


def test_relations_by_hand_and_whatever_turns_or_stretches_the_rows():
    angles = torch.tensor([0.0, 0.1, 0.5])
    taught, rows = (torch.stack([a.cos(), a.sin()], 1) for a in (angles, angles.flip(0) * 2))

    def softmax(at, among):
        return torch.softmax(torch.stack([at @ other for other in among]) / RELATION_TEMPERATURE, 0)

    by_hand = 0.0
    for i in range(3):
        wanted, found = (softmax(space[i], [space[j] for j in range(3) if j != i]) for space in (taught, rows))
        by_hand += float((wanted * (wanted / found).log()).sum()) / 3
    batch = batch_of({"text": rows})
    assert float(Relations(batch.units, {"text": taught})(batch)) == pytest.approx(by_hand, rel=1e-4)
    turn = torch.linalg.qr(drawn(8, 8)).Q
    space = drawn(12, 8)
    turned = batch_of({"text": 5 * space @ turn})
    assert float(Relations(turned.units, {"text": space})(turned)) == pytest.approx(0, abs=1e-4)
    wider = batch_of({"text": torch.cat([space, torch.zeros(12, 3)], 1)})
    assert float(Relations(wider.units, {"text": space})(wider)) == pytest.approx(0, abs=1e-5)


def test_a_planted_linear_map_is_found():
    planted, bias, rows = drawn(7, 5), drawn(7), drawn(40, 5)
    found = fitted(rows, rows @ planted.T + bias)
    torch.testing.assert_close(found.weight, planted, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.bias, bias, rtol=0, atol=1e-4)
    taught = {"text": rows @ planted.T + bias}
    batch = batch_of({"text": rows})
    assert Rows(batch.units, taught, {"text": found})(batch) < 1e-9


def test_of_many_maps_the_least_is_taken():
    rows, taught = drawn(6, 20), drawn(6, 3)
    found = fitted(rows, taught)
    torch.testing.assert_close(found(rows), taught, rtol=0, atol=1e-4)
    centred = rows - rows.mean(0)
    within = found.weight @ torch.linalg.pinv(centred) @ centred
    torch.testing.assert_close(within, found.weight, rtol=0, atol=1e-4)
    constant = fitted(torch.ones(4, 5), taught[:4])
    assert not constant.weight.any() and torch.allclose(constant.bias, taught[:4].mean(0))


def test_shared_neighbours():
    rows = drawn(30, 6)
    assert shared_neighbours(rows, 2 * rows) == 1.0 and shared_neighbours(rows[:2], rows[:2]) is None
    angles = torch.arange(4) * 0.1
    line = torch.stack([angles.cos(), angles.sin()], 1)
    assert shared_neighbours(line, line[[0, 2, 1, 3]]) == 0.75, "the two in the middle keep one of two neighbours"
    unlike = [shared_neighbours(drawn(60, 50), drawn(60, 50)) for _ in range(20)]
    assert sum(unlike) / 20 == pytest.approx(10 / 59, abs=0.02), "by chance"
