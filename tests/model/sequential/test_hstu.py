"""HSTU's block against the paper's equations, one pair of items at a time."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.errors import InputError
from recbole_mm.model.sequential.histories import Histories
from recbole_mm.model.sequential.hstu import HSTUBlock, time_buckets
from recbole_mm.testing.planted import built

LENGTH, BUCKETS = 7, 32


def block(n_heads: int = 2) -> HSTUBlock:
    torch.manual_seed(3)
    return HSTUBlock(8, n_heads, LENGTH, BUCKETS, dropout=0.5, attention_dropout=0.5, eps=1e-6, std=0.5).double().eval()


def drawn(seed: int, n: int = 3, length: int = LENGTH) -> tuple[Tensor, Tensor]:
    """Rows of histories (n, length, 8), and ascending times of very different distances."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, length, 8, generator=draw, dtype=torch.float64)
    return x, (torch.rand(n, length, generator=draw, dtype=torch.float64) * 12).exp().cumsum(1)


def bucket(seconds: float) -> int:
    return min(int(math.log(max(seconds, 1)) / 0.301), BUCKETS - 1)


def slow_block(block: HSTUBlock, x: Tensor, times: Tensor | None) -> Tensor:
    """One history (l, size), position by position and head by head."""
    norm = lambda row: (row - row.mean()) / (row.var(unbiased=False) + block.eps).sqrt()  # noqa: E731
    parts = [functional.silu(block.f1.weight @ norm(row)).reshape(4, block.n_heads, -1) for row in x]
    out = []
    for i, row in enumerate(x):
        heads = []
        for h in range(block.n_heads):
            attended = 0
            for j in range(i + 1):
                bias = block.bias.position[i - j] + (0 if times is None else block.bias.time[bucket(float(times[i] - times[j]))])
                score = parts[i][2, h] @ parts[j][3, h] + bias
                attended = attended + score * torch.sigmoid(score) / LENGTH * parts[j][1, h]
            heads.append(attended)
        gated = norm(torch.cat(heads)) * parts[i][0].flatten()
        out.append(row + block.f2.weight @ gated + block.f2.bias)
    return torch.stack(out)


@pytest.mark.parametrize("n_heads", [1, 2])
@pytest.mark.parametrize("timed", [True, False])
def test_the_block_and_its_gradients_are_the_papers(n_heads: int, timed: bool):
    ours, (x, times) = block(n_heads), drawn(0)
    fast = ours(x, time_buckets(times, BUCKETS) if timed else None)
    slow = torch.stack([slow_block(ours, row, own if timed else None) for row, own in zip(x, times, strict=True)])
    torch.testing.assert_close(fast, slow)
    parameters = [p for name, p in ours.named_parameters() if timed or name != "bias.time"]
    gradients = [torch.autograd.grad(out.square().sum(), parameters) for out in (fast, slow)]
    for fast_gradient, slow_gradient in zip(*gradients, strict=True):
        assert slow_gradient.abs().max() > 0
        torch.testing.assert_close(fast_gradient, slow_gradient)


@pytest.mark.parametrize("seed", range(5))
def test_later_items_and_padding_never_change_earlier_states(seed: int):
    ours, (x, times) = block(), drawn(seed)
    kept = 1 + seed % (LENGTH - 1)
    other_x, other_times = drawn(seed + 100)
    other_x[:, :kept], other_times[:, :kept] = x[:, :kept], times[:, :kept]
    states = ours(x, time_buckets(times, BUCKETS))[:, :kept]
    torch.testing.assert_close(ours(other_x, time_buckets(other_times, BUCKETS))[:, :kept], states)
    torch.testing.assert_close(ours(x[:, :kept], time_buckets(times[:, :kept], BUCKETS)), states)


def test_what_the_last_state_hangs_on():
    """Every item, their order, and their times; not the day on which the history begins."""
    ours, (x, times) = block(), drawn(1, n=1)
    x.requires_grad_()
    last = ours(x, time_buckets(times, BUCKETS))[0, -1]
    assert (torch.autograd.grad(last.square().sum(), x, retain_graph=True)[0].abs().sum(-1) > 0).all()
    torch.testing.assert_close(ours(x, time_buckets(times + 86400, BUCKETS))[0, -1], last)
    for changed in (ours(x, time_buckets(times * 10, BUCKETS)), ours(x.flip(1), time_buckets(times, BUCKETS)), ours(x, None)):
        assert not torch.allclose(changed[0, -1], last)


def test_buckets_of_positions_and_of_seconds():
    """A few positions apart are told apart, decades fit, and what is out of order counts as no time."""
    assert time_buckets(torch.tensor([[0.0, 1, 2, 3, 5, 49]]), 128)[0, :, 0].tolist() == [0, 0, 2, 3, 5, 12]
    decades = torch.tensor([[0.0, 3600, 86400, 86400 * 365, 1e9, 1e30]])
    assert time_buckets(decades, 128)[0, :, 0].tolist() == [0, 27, 37, 57, 68, 127]
    assert time_buckets(torch.tensor([[9.0, 4.0]]), 128).max() == 5 and time_buckets(torch.tensor([[9.0, 4.0]]), 128)[0, 1, 0] == 0


@pytest.mark.parametrize("timed", [True, False])
def test_the_model_is_a_stack_of_blocks_between_a_scale_and_a_norm(planted, timed: bool):
    keys = {"modalities": [], "hidden_size": 8, "time_buckets": BUCKETS, "MAX_ITEM_LIST_LENGTH": LENGTH, "n_layers": 3}
    _, model, *_ = built(planted, "HSTU", **keys)
    torch.manual_seed(0)
    for parameter in model.double().eval().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, times = drawn(2)
    slow = []
    for rows, own in zip(x * 8**0.5, times, strict=True):
        for part in model.blocks:
            rows = slow_block(part, rows, own if timed else None)
        slow.append(functional.layer_norm(rows, (8,), model.norm.weight, model.norm.bias, 1e-6))
    histories = Histories(torch.ones(3, LENGTH, dtype=torch.int64), torch.full((3,), LENGTH), times if timed else None)
    torch.testing.assert_close(model.encode(x, histories), torch.stack(slow))


@pytest.mark.parametrize("name", ["HSTU", "SASRecM"])
def test_heads_that_do_not_fit(planted, name: str):
    with pytest.raises(InputError, match="hidden_size 8 is no multiple of n_heads 3"):
        built(planted, name, modalities=[], hidden_size=8, n_heads=3)
