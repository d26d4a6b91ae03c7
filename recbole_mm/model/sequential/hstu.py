"""HSTU: a stack of pointwise gated attention, told apart by positions and times."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.config.kinds import COUNT, POSITIVE, SHARE, Key
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset
from recbole_mm.model.sequential.base import SequenceRecommender
from recbole_mm.model.sequential.histories import Histories

BUCKET_RATIO = 0.301
"""A bucket of time ends where the time's natural logarithm has grown by this much: each is about a third wider than the one before."""


def time_buckets(times: Tensor, n_buckets: int) -> Tensor:
    """floor(ln(max(t_i - t_j, 1)) / .301) of each pair of a history's times (b, l), at most n_buckets - 1: int64 (b, l, l)."""
    apart = (times.unsqueeze(2) - times.unsqueeze(1)).clamp_min(1)
    return (apart.log() / BUCKET_RATIO).long().clamp_max(n_buckets - 1)


class RelativeBias(nn.Module):
    """rab_ij = position[i - j] + time[bucket of t_i - t_j], the same for all heads.

    Args:
        length: of the longest history.
        n_buckets: of time.
        std: standard deviation of both at the start.
    """

    def __init__(self, length: int, n_buckets: int, std: float) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(length) * std)
        self.time = nn.Parameter(torch.randn(n_buckets) * std)

    def forward(self, length: int, buckets: Tensor | None) -> Tensor:
        """(1 or b, l, l), of which only j <= i counts. ``buckets``: see ``time_buckets``; None without times."""
        steps = torch.arange(length, device=self.position.device)
        bias = self.position[(steps.unsqueeze(1) - steps).clamp_min(0)].unsqueeze(0)
        return bias if buckets is None else bias + functional.embedding(buckets, self.time.unsqueeze(1)).squeeze(-1)


class HSTUBlock(nn.Module):
    """x + f2(norm(A V) * U), with U, V, Q, K = silu(f1(norm(x))) and A_ij = silu(q_i . k_j + rab_ij) / n for j <= i, 0 for others.

    Args:
        size: width of x, and of U, V, Q and K, which the heads share.
        n_heads: must divide ``size``.
        length: of the longest history, which is n: a constant, so that a state does not depend on how far its batch is padded.
        n_buckets: of time.
        dropout, attention_dropout: shares of what f2 reads, and of A.
        eps: of both norms, which have no parameters.
        std: of f1 and of the biases at the start.
    """

    def __init__(self, size: int, n_heads: int, length: int, n_buckets: int, dropout: float, attention_dropout: float, eps: float,
                 std: float) -> None:  # fmt: skip
        super().__init__()
        self.size, self.n_heads, self.length, self.eps = size, n_heads, length, eps
        self.f1 = nn.Linear(size, 4 * size, bias=False)
        self.f2 = nn.Linear(size, size)
        self.bias = RelativeBias(length, n_buckets, std)
        self.dropout, self.attention_dropout = nn.Dropout(dropout), nn.Dropout(attention_dropout)
        nn.init.normal_(self.f1.weight, std=std)
        nn.init.xavier_uniform_(self.f2.weight)
        nn.init.zeros_(self.f2.bias)

    def forward(self, x: Tensor, buckets: Tensor | None) -> Tensor:
        """(b, l, size) -> (b, l, size)."""
        u, v, q, k = functional.silu(self.f1(self._norm(x))).chunk(4, dim=-1)
        v, q, k = (rows.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for rows in (v, q, k))
        scores = q @ k.transpose(-1, -2) + self.bias(x.shape[1], buckets).unsqueeze(1)
        weights = self.attention_dropout(functional.silu(scores).tril() / self.length)
        attended = (weights @ v).transpose(1, 2).flatten(2)
        return x + self.f2(self.dropout(self._norm(attended) * u))

    def _norm(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (self.size,), eps=self.eps)


class HSTU(SequenceRecommender):
    """HSTU (Zhai et al., ICML 2024, arXiv 2402.17152) over item rows of ids and content.

    h_1 ... h_t = LayerNorm(blocks(dropout(sqrt(d) e_1 ... sqrt(d) e_t))), with d the width of e. A block (see ``HSTUBlock``) is

        U, V, Q, K = silu(f1(norm(X)));  A = silu(Q K^T + rab) / n;  X + f2(norm(A V) * U),

    where A is causal, and rab is a learned bias by how many places two items are apart and by the logarithm of the time between them.
    There is no softmax, so that how much of something was in a history counts, and no feed-forward layer: U gates instead. The root of d,
    as in the public code, makes rows longer than what the blocks add to them at the start, which is random.

    Deviations: histories are dense and padded, which is enough for hundreds of items; the paper's kernels are for thousands. The time
    between items i and j is t_i - t_j, where the public code takes t_i+1 - t_j: when one recommends, the time of the next item is not
    known. (RecBole reads times as float32, which tells seconds since 1970 apart by two minutes.) There are no actions, only items. Of a
    data set without times, or of histories without them, rab has the positions alone. The public code adds absolute positions to e, and
    ranks by cosines over a temperature of .05; here the last states pass a LayerNorm, and ``loss_scores`` and ``loss_temperature`` say
    how items are ranked.
    """

    keys = {
        "n_layers": Key(2, COUNT, "Number of blocks."),
        "n_heads": Key(2, COUNT, "Number of attention heads, which divides hidden_size."),
        "time_buckets": Key(128, COUNT, "Number of buckets of time; each is a third wider than the one before."),
        "hidden_dropout_prob": Key(0.2, SHARE, "Share of the numbers that are dropped before and in the blocks."),
        "attn_dropout_prob": Key(0.0, SHARE, "Share of the attention weights that are dropped."),
        "layer_norm_eps": Key(1e-6, POSITIVE, "What layer norms add to the variance."),
    }

    def __init__(self, config, dataset: MultiModalSequentialDataset) -> None:
        super().__init__(config, dataset)
        size, eps, dropout = config["hidden_size"], config["layer_norm_eps"], config["hidden_dropout_prob"]
        self.n_buckets, self.dropout = config["time_buckets"], nn.Dropout(dropout)
        self.norm = nn.LayerNorm(size, eps=eps)
        self.initialise()
        self.blocks = nn.ModuleList(
            HSTUBlock(size, config["n_heads"], self.max_seq_length, self.n_buckets, dropout, config["attn_dropout_prob"], eps,
                      self.initializer_range)
            for _ in range(config["n_layers"])
        )  # fmt: skip

    def encode(self, rows: Tensor, histories: Histories) -> Tensor:
        buckets = None if histories.times is None else time_buckets(histories.times, self.n_buckets)
        states = self.dropout(rows * rows.shape[-1] ** 0.5)
        for block in self.blocks:
            states = block(states, buckets)
        return self.norm(states)
