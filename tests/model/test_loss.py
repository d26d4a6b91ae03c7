"""Losses against slow references written from their equations."""

import numpy as np
import pytest
import torch

from recbole_mm.model.loss import bpr_loss, info_nce, log_inclusion, sampled_softmax_loss, squared_norm


def test_bpr_is_minus_log_sigmoid_of_the_difference():
    positive, negative = torch.randn(20, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    wanted = np.mean([-np.log(1 / (1 + np.exp(-(p - n)))) for p, n in zip(positive.numpy(), negative.numpy(), strict=True)])
    assert np.isclose(bpr_loss(positive, negative).item(), wanted)


def test_log_inclusion_is_the_chance_of_being_drawn_at_least_once():
    popularity = torch.tensor([0.5, 0.3, 0.2, 1e-9, 0.0], dtype=torch.float64)
    rng = np.random.default_rng(0)
    draws = rng.choice(3, size=(200_000, 4), p=[0.5, 0.3, 0.2])
    measured = [(draws == item).any(1).mean() for item in range(3)]
    assert np.allclose(log_inclusion(popularity, 4).exp()[:3].numpy(), measured, atol=3e-3)
    assert np.isclose(log_inclusion(popularity, 4).exp()[3].item(), 4e-9, rtol=1e-3), "rare items must not lose their digits"
    assert torch.isfinite(log_inclusion(popularity, 4)).all()
    assert torch.isfinite(log_inclusion(torch.ones(1), 512)).all()


def test_sampled_softmax_against_a_slow_reference():
    rng = np.random.default_rng(1)
    scores, target = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    sampling, masked = np.log(rng.uniform(0.1, 1, 5)), rng.random((6, 5)) < 0.4
    wanted = []
    for row in range(6):
        logits = scores[row] - sampling
        allowed = [c for c in range(5) if c == target[row] or not masked[row, c]]
        wanted.append(-(logits[target[row]] - np.log(sum(np.exp(logits[c]) for c in allowed))))
    ours = sampled_softmax_loss(*(torch.tensor(x) for x in (scores, target, sampling, masked)))
    assert np.isclose(ours.item(), np.mean(wanted))


def test_squared_norm_averages_over_rows():
    a, b = torch.randn(4, 3), torch.randn(7, 3)
    wanted = sum(0.5 * np.mean([np.sum(row**2) for row in e.numpy()]) for e in (a, b))
    assert np.isclose(squared_norm(a, b).item(), wanted, rtol=1e-6)


@pytest.mark.parametrize("cosine", [True, False])
def test_info_nce_against_a_slow_reference(cosine):
    rng = np.random.default_rng(2)
    a, b, ids = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), np.array([3, 1, 3, 2, 1, 5])
    masked = rng.random((6, 6)) < 0.3

    def similarity(x, y):
        return x @ y / (np.linalg.norm(x) * np.linalg.norm(y) if cosine else 1) / 0.2

    def wanted(excluded):
        rows = []
        for i in range(6):
            allowed = [j for j in range(6) if i == j or not excluded(i, j)]
            rows.append(np.log(sum(np.exp(similarity(a[i], b[j])) for j in allowed)) - similarity(a[i], b[i]))
        return np.mean(rows)

    ours = [torch.tensor(x) for x in (a, b)]
    assert np.isclose(info_nce(*ours, 0.2, cosine=cosine).item(), wanted(lambda i, j: False))
    same = info_nce(*ours, 0.2, cosine=cosine, ids=torch.tensor(ids)).item()
    assert np.isclose(same, wanted(lambda i, j: ids[i] == ids[j]))
    given = torch.tensor(masked)
    both = info_nce(*ours, 0.2, cosine=cosine, ids=torch.tensor(ids), masked=given).item()
    assert np.isclose(both, wanted(lambda i, j: ids[i] == ids[j] or masked[i, j]))
    assert given.tolist() == masked.tolist(), "the mask given is left as it was"


def test_info_nce_of_one_item_alone_is_zero_and_has_a_gradient():
    a = torch.randn(3, 4, requires_grad=True)
    loss = info_nce(a, torch.randn(3, 4), 0.1, ids=torch.ones(3))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(a.grad).all()
