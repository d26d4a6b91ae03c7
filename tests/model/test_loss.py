"""Losses against slow references written from their equations."""

import numpy as np
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


def test_info_nce_against_a_slow_reference():
    """With counts it is the loss of the batch that repeats its rows, none of which is a negative of its own copies."""
    rng = np.random.default_rng(2)
    a, b, counts = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([3, 1, 2, 1])

    def wanted(rows):
        losses = []
        for i in rows:
            cosines = {j: a[i] @ b[j] / (np.linalg.norm(a[i]) * np.linalg.norm(b[j])) / 0.2 for j in range(4)}
            losses.append(np.log(np.exp(cosines[i]) + sum(np.exp(cosines[j]) for j in rows if j != i)) - cosines[i])
        return np.mean(losses)

    ours = [torch.tensor(x) for x in (a, b)]
    assert np.isclose(info_nce(*ours, 0.2).item(), wanted(range(4)))
    assert np.isclose(info_nce(*ours, 0.2, torch.tensor(counts)).item(), wanted(np.repeat(np.arange(4), counts)))
    more = torch.cat([ours[1], torch.tensor(rng.normal(size=(2, 3)))])
    assert info_nce(ours[0], more, 0.2) > info_nce(*ours, 0.2), "further rows are negatives"


def test_info_nce_of_one_item_alone_is_zero_and_has_a_gradient():
    a = torch.randn(1, 4, requires_grad=True)
    loss = info_nce(a, torch.randn(1, 4), 0.1, torch.tensor([3]))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(a.grad).all()
