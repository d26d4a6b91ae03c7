"""Losses over the steps of histories."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

SCORES_AT_ONCE = 2**25


def catalogue_loss(states: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy over the whole catalogue, as a mean over the steps. The scores of many steps are computed a part at a time, and again
    for the gradient, so that they are never in memory together.

    Args:
        states: (m, d).
        items: (n_items, d), the first of which is the padding, a class that is never right, as in RecBole.
        targets: (m,).
    """
    at_once = max(1, SCORES_AT_ONCE // len(items))
    if len(states) <= at_once:
        return functional.cross_entropy(states @ items.T, targets)
    parts = zip(states.split(at_once), targets.split(at_once), strict=True)
    return sum(checkpoint(_summed, part, items, wanted, use_reentrant=False) for part, wanted in parts) / len(states)


def _summed(states: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(states @ items.T, targets, reduction="sum")


def negatives_loss(states: Tensor, own: Tensor, negatives: Tensor) -> Tensor:
    """Softmax of each step's item among negatives, as a mean over the steps.

    Args:
        states, own: (m, d), the latter of the items that come next.
        negatives: (m, n, d).
    """
    positive = (states * own).sum(-1, keepdim=True)
    scores = torch.cat([positive, torch.einsum("md,mnd->mn", states, negatives)], dim=1)
    return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))
