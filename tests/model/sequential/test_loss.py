"""A loss in parts is the loss."""

import pytest
import torch
from torch.nn import functional

from recbole_mm.model.sequential import loss
from recbole_mm.model.sequential.loss import catalogue_loss


@pytest.mark.parametrize("at_once", [30, 10**6])
def test_the_catalogues_loss_in_parts_has_the_same_gradients(monkeypatch, at_once):
    monkeypatch.setattr(loss, "SCORES_AT_ONCE", at_once)
    draw = torch.Generator().manual_seed(0)
    states, items = (torch.randn(n, 4, generator=draw, dtype=torch.float64).requires_grad_() for n in (13, 7))
    targets = torch.randint(7, (13,), generator=draw)
    columns, known = torch.randint(7, (13, 3), generator=draw), torch.rand(13, 3, generator=draw) < 0.6
    bias = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    counts = torch.zeros(13, 7, dtype=torch.float64)
    for row, column in known.nonzero().tolist():
        counts[row, columns[row, column]] += 1
    found = catalogue_loss(states, items, targets, (columns, known), bias)
    expected = functional.cross_entropy(states @ items.T + bias * counts, targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    learnt = (states, items, bias)
    pairs = zip(torch.autograd.grad(found, learnt), torch.autograd.grad(expected, learnt), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-12) for ours, theirs in pairs)
