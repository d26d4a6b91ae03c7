"""Losses that recommenders share."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """The mean of -log sigmoid(positive - negative) (Rendle et al., UAI 2009). Both are scores (n,); the result is a scalar."""
    return functional.softplus(negative - positive).mean()


def log_inclusion(popularity: Tensor, batch_size: int) -> Tensor:
    """The log probability (n,) that an item is among the distinct items of a batch: log(1 - (1 - p)^batch_size).

    Args:
        popularity: p, each item's share of the training interactions, (n,). Items without interactions get a finite floor.
    """
    inclusion = -torch.expm1(batch_size * torch.log1p(-popularity.double().clamp(0, 1 - 1e-12)))
    return torch.log(inclusion.clamp(min=1e-12)).to(popularity.dtype)


def sampled_softmax_loss(scores: Tensor, target: Tensor, log_sampling: Tensor, masked: Tensor) -> Tensor:
    """In-batch sampled softmax with log-popularity correction (Bengio & Senecal 2008; Yi et al., RecSys 2019), as a mean over the rows.

    Args:
        scores: (n, c), one row per positive interaction and one column per distinct candidate item of the batch.
        target: (n,), the column of each row's own positive.
        log_sampling: (c,), the log probability that a candidate is in the batch, which is subtracted from its score.
        masked: bool (n, c), candidates that are not negatives of the row, namely the user's other positives. The target is never masked.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    own = functional.one_hot(target, scores.shape[1]).bool()
    logits = (scores - log_sampling).masked_fill(masked & ~own, float("-inf"))
    return functional.cross_entropy(logits, target)


def alignment_loss(a: Tensor, b: Tensor) -> Tensor:
    """The mean of |a - b|^2 over rows (n, d) of length 1 (Wang & Isola, ICML 2020)."""
    return (a - b).pow(2).sum(-1).mean()


def uniformity_loss(rows: Tensor) -> Tensor:
    """log mean of e^(-2 |x - x'|^2) over the pairs of different rows (n, d) of length 1 (Wang & Isola, ICML 2020); 0 for a single row."""
    n = len(rows)
    if n < 2:
        return rows.sum() * 0
    closeness = (4 * (rows @ rows.T - 1)).fill_diagonal_(float("-inf"))
    return torch.logsumexp(closeness.flatten(), 0) - math.log(n * (n - 1))


def squared_norm(*embeddings: Tensor) -> Tensor:
    """The usual L2 term of a batch: half the squared L2 norm of each row, averaged over the rows and summed over the embeddings."""
    return sum(e.pow(2).sum() / (2 * max(len(e), 1)) for e in embeddings)


def mean_square(*embeddings: Tensor) -> Tensor:
    """The mean over all elements of their squares, summed over the embeddings: the L2 term of GRCN, DualGNN, DRAGON, MENTOR and COHESION,
    which is 2 / d of ``squared_norm``."""
    return sum(e.pow(2).mean() for e in embeddings)


def table_norm(*embeddings: Tensor) -> Tensor:
    """The L2 norms of the tables, not squared, summed and divided by the number of rows of the last one. This is the L2 term of the code
    that the published grids of BM3 and VBPR belong to."""
    return sum(e.norm() for e in embeddings) / len(embeddings[-1])


def info_nce(a: Tensor, b: Tensor, temperature: float, counts: Tensor | None = None) -> Tensor:
    """InfoNCE (van den Oord et al. 2018) of aligned rows: mean over i of -log softmax_j(cos(a_i, b_j) / temperature) at j = i.

    Args:
        a, b: (n, d) and (m, d) with m >= n. Row i of a belongs to row i of b; the other rows of b are negatives only.
        counts: (n,), the number of times that each row is in a batch (with m = n). The loss is then that of the batch with all these
            repetitions, in which no row is a negative of its own copies.
    """
    a, b = functional.normalize(a, dim=-1) / temperature, functional.normalize(b, dim=-1)
    logits, own = (a @ b.T).to(torch.promote_types(a.dtype, torch.float32)), torch.arange(len(a), device=a.device)
    if counts is None:
        return functional.cross_entropy(logits, own)
    repeated = counts.to(logits.dtype).log()
    logits = logits + repeated
    with torch.no_grad():  # a constant, which changes no gradient
        logits.diagonal().sub_(repeated)
    return (functional.cross_entropy(logits, own, reduction="none") * counts).sum() / counts.sum()


def table_nce(a: Tensor, b: Tensor, ids: Tensor, temperature: float, sample: int) -> Tensor:
    """InfoNCE of some rows of a table against all of them: the mean over ids of -log softmax_j(cos(a_i, b_j) / temperature) at j = i, where
    j runs over all rows of b but row 0, the padding row.

    Args:
        a, b: two views of the same users or items, (n, d) each.
        ids: (m,), the rows of a batch, which may come more than once.
        sample: of the rows that are not in the batch, at most so many are compared with. They are drawn anew in every call, and each of
            them counts for its share of the rows that they stand for.
    """
    distinct, counts = ids.unique(return_counts=True)
    outside = torch.ones(len(b), dtype=torch.bool, device=ids.device)
    outside[0] = outside[distinct] = False
    others = outside.nonzero().squeeze(1)
    drawn = others if len(others) <= sample else others[torch.randperm(len(others), device=ids.device)[:sample]]
    compared = functional.normalize(b[torch.cat([distinct, drawn])], dim=-1)
    logits = functional.normalize(a[distinct], dim=-1) @ compared.T / temperature
    logits = logits.to(torch.promote_types(a.dtype, torch.float32))
    weights = logits.new_ones(len(compared))
    weights[len(distinct) :] = len(others) / max(len(drawn), 1)
    losses = functional.cross_entropy(logits + weights.log(), torch.arange(len(distinct), device=ids.device), reduction="none")
    return (losses * counts).sum() / counts.sum()
