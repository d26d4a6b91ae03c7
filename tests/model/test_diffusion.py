"""The denoiser against its equations, written out over dense rows."""

import math

import pytest
import torch
from torch.nn import functional

from recbole_mm.model.diffusion import Denoiser, NoiseSchedule
from recbole_mm.model.graph import InteractionGraph

N_USERS, N_ITEMS, WIDTH, STEPS = 9, 12, 7, 4


@pytest.fixture()
def graph() -> InteractionGraph:
    torch.manual_seed(1)
    users, items = (torch.rand(N_USERS - 1, N_ITEMS - 1) < 0.3).nonzero().T + 1
    return InteractionGraph(users, items, N_USERS, N_ITEMS)


@pytest.fixture()
def denoiser() -> Denoiser:
    torch.manual_seed(2)
    made = Denoiser(N_ITEMS, WIDTH, NoiseSchedule(STEPS, 0.5)).double()
    for name in made.names:
        getattr(made, name).mul_(3)
    return made


def slow_schedule(steps: int, scale: float) -> tuple[list[float], list[float]]:
    """beta_t and a_t."""
    variance = [scale * (1e-4 + (0.02 - 1e-4) * t / (steps - 1)) for t in range(steps)]
    betas = [1e-4] + [1 - (1 - variance[t]) / (1 - variance[t - 1]) for t in range(1, steps)]
    return betas, [math.prod(1 - beta for beta in betas[: t + 1]) for t in range(steps)]


def predicted(d: Denoiser, rows: torch.Tensor, steps: list[int]) -> torch.Tensor:
    out = []
    for row, t in zip(rows, steps, strict=True):
        angles = [t * math.exp(-math.log(10000) * k / 5) for k in range(5)]
        sinusoid = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles], dtype=row.dtype)
        both = torch.cat([row, d.time.T @ sinusoid + d.time_bias])
        hidden = torch.tanh(torch.cat([d.rows_in, d.time_in]).T @ both + d.bias_in)
        out.append(d.rows_out.T @ hidden + d.bias_out)
    return torch.stack(out)


def test_noise_grows_and_the_posterior_is_bayes_rule():
    schedule, (betas, signal) = NoiseSchedule(STEPS, 0.5), slow_schedule(STEPS, 0.5)
    assert schedule.signal.tolist() == pytest.approx(signal, rel=1e-12)
    ratios = [a / (1 - a) for a in signal]
    assert schedule.weights.tolist() == pytest.approx([1.0, *(ratios[t - 1] - ratios[t] for t in range(1, STEPS))], rel=1e-9)
    for t in range(STEPS):
        before = signal[t - 1] if t else 1.0
        precision = (1 - betas[t]) / betas[t] + (1 / (1 - before) if t else math.inf)
        of_noisy = math.sqrt(1 - betas[t]) / betas[t] / precision
        of_prediction = math.sqrt(before) / (1 - before) / precision if t else 1.0
        assert (schedule.of_noisy[t].item(), schedule.of_prediction[t].item()) == pytest.approx((of_noisy, of_prediction), rel=1e-9)


def test_the_loss_is_the_papers(graph, denoiser):
    rows, content, ids = graph.rows(torch.arange(1, 6)).double(), torch.randn(N_ITEMS, 3).double(), torch.randn(N_ITEMS, 3).double()
    torch.manual_seed(3)
    ours = denoiser.loss(rows, content, ids, 0.7)
    torch.manual_seed(3)
    steps, noise, mask = torch.randint(STEPS, (5,)).tolist(), torch.randn_like(rows), functional.dropout(torch.ones_like(rows), 0.5)
    _, signal = slow_schedule(STEPS, 0.5)
    noisy = torch.stack([math.sqrt(signal[t]) * row + math.sqrt(1 - signal[t]) * e for t, row, e in zip(steps, rows, noise, strict=True)])
    found, wanted = predicted(denoiser, mask * noisy, steps), 0
    for x, row, t in zip(found, rows, steps, strict=True):
        counts = signal[t - 1] / (1 - signal[t - 1]) - signal[t] / (1 - signal[t]) if t else 1.0
        wanted += (counts * ((x - row) ** 2).mean() + 0.7 * ((x @ content - row @ ids) ** 2).mean()).item() / 5
    assert ours.item() == pytest.approx(wanted, rel=1e-6)


def test_top_items_are_those_of_denoising_whole_rows(graph, denoiser):
    (betas, signal), x = slow_schedule(STEPS, 0.5), graph.rows(torch.arange(N_USERS)).double()
    for t in reversed(range(STEPS)):
        before = signal[t - 1] if t else 1.0
        first, second = betas[t] * math.sqrt(before), (1 - before) * math.sqrt(1 - betas[t])
        x = (first * predicted(denoiser, x, [t] * N_USERS) + second * x) / (1 - signal[t])
    tops = denoiser.top_items(graph, 3, batch_size=4)
    assert torch.equal(tops[1:], x[1:, 1:].topk(3).indices + 1) and not tops[0].any(), "never the padding item"


def test_an_epoch_is_one_of_adam_over_all_users(graph, denoiser):
    content, ids = torch.randn(N_ITEMS, 3).double(), torch.randn(N_ITEMS, 3).double()
    weights = {name: getattr(denoiser, name).clone().requires_grad_() for name in denoiser.names}
    optimizer = torch.optim.Adam(weights.values(), lr=0.01)
    torch.manual_seed(4)
    for _ in range(2):
        for users in (1 + torch.randperm(N_USERS - 1)).split(3):
            optimizer.zero_grad()
            denoiser.loss(graph.rows(users).double(), content, ids, 0.7, weights).backward()
            optimizer.step()
    torch.manual_seed(4)
    for _ in range(2):
        denoiser.fit(graph, content, ids, 0.7, batch_size=3, learning_rate=0.01)
    for name, weight in weights.items():
        torch.testing.assert_close(getattr(denoiser, name), weight.detach(), rtol=1e-9, atol=1e-12)


def test_it_learns_to_restore_rows(graph):
    torch.manual_seed(5)
    denoiser, nothing = Denoiser(N_ITEMS, 30, NoiseSchedule(STEPS, 0.1)), torch.zeros(N_ITEMS, 1)
    losses = [denoiser.fit(graph, nothing, nothing, 0.0, batch_size=8, learning_rate=0.01) for _ in range(150)]
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
    own = set(zip(graph.users.tolist(), graph.items.tolist(), strict=True))
    tops = denoiser.top_items(graph, 1, batch_size=8)[:, 0].tolist()
    users = graph.users.unique().tolist()
    assert sum((user, tops[user]) in own for user in users) >= len(users) - 1
