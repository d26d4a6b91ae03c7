"""Losses over the steps of histories."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

SCORES_AT_ONCE = 2**25


def catalogue_loss(states: Tensor, items: Tensor, targets: Tensor, seen: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
    """Cross entropy over the whole catalogue, as a mean over the steps. The scores of many steps are computed a part at a time, and again
    for the gradient, so that they are never in memory together.

    Args:
        states: (m, d).
        items: (n_items, d), the first of which is the padding, a class that is never right, as in RecBole.
        targets: (m,).
        seen, bias: see ``with_bias``.
    """
    at_once = max(1, SCORES_AT_ONCE // len(items))
    if len(states) <= at_once:
        return _summed(states, items, targets, *seen, bias) / len(states)
    parts = zip(*(part.split(at_once) for part in (states, targets, *seen)), strict=True)
    return sum(checkpoint(_summed, h, items, wanted, *had, bias, use_reentrant=False) for h, wanted, *had in parts) / len(states)


def _summed(states: Tensor, items: Tensor, targets: Tensor, columns: Tensor, known: Tensor, bias: Tensor | None) -> Tensor:
    return functional.cross_entropy(with_bias(states @ items.T, (columns, known), bias), targets, reduction="sum")


def with_bias(scores: Tensor, seen: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
    """Scores with a bias added as often as an item was seen.

    Args:
        scores: (m, n).
        seen: columns of ``scores``, and which of them count: int64 and bool (m, l).
        bias: a scalar; None for no bias.
    """
    columns, known = seen
    return scores if bias is None else scores.scatter_add(1, columns, bias.to(scores.dtype) * known)


def negatives_loss(states: Tensor, own: Tensor, negatives: Tensor) -> Tensor:
    """Softmax of each step's item among negatives, as a mean over the steps.

    Args:
        states, own: (m, d), the latter of the items that come next.
        negatives: (m, n, d).
    """
    positive = (states * own).sum(-1, keepdim=True)
    scores = torch.cat([positive, torch.einsum("md,mnd->mn", states, negatives)], dim=1)
    return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))
