"""The best k of each row of scores, found without ordering whole rows."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 64
"""How many neighbouring columns are first represented by the best of them."""


def top_k(scores: Tensor, k: int) -> Tensor:
    """The columns of the k highest scores of each row, the best first: exactly those of ``torch.topk``, in its order of equal scores.

    Args:
        scores: (n, width).

    Returns:
        int64 (n, k).
    """
    if not worth_blocks(scores, k + 1):
        return scores.topk(k).indices
    values, ids = best(scores, k + 1)
    return with_ties(values, ids, lambda rows: (scores[rows] if len(rows) < len(scores) else scores).topk(k).indices)


def with_ties(values: Tensor, ids: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
    """The first k of k + 1 candidates per row, where no two scores are equal; where some are, what ``again`` gives for those rows.

    Args:
        values, ids: the k + 1 best of each row, in descending order.
        again: rows, int64 (m,) -> ids (m, k).
    """
    ids = ids[:, :-1]
    tied = (~(values[:, :-1] > values[:, 1:]).all(1)).nonzero().squeeze(1)  # NaN is greater than nothing, and counts as tied
    return ids.index_copy(0, tied, again(tied)) if len(tied) else ids


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest scores of each row and their columns, (n, k) each, the best first; equal scores in any order. Rows that are too short
    for k give all they have.

    Only those k blocks of columns are searched whose best scores are the highest, for scores that reach the lowest of these: whatever else
    there is, is no better than k others.
    """
    n, width = scores.shape
    if not worth_blocks(scores, k):
        return scores.topk(min(k, width))
    n_blocks = width // BLOCK
    blocks, rest = scores[:, : n_blocks * BLOCK].view(n, n_blocks, BLOCK), scores[:, n_blocks * BLOCK :]
    chosen = blocks.amax(-1).topk(k, sorted=False)
    searched = torch.cat([blocks[torch.arange(n).unsqueeze(1), chosen.indices].view(n, -1), rest], 1)
    rows, places = (~(searched < chosen.values.amin(1, keepdim=True))).nonzero().unbind(1)
    starts = functional.pad(chosen.indices, (0, 1), value=n_blocks) * BLOCK
    columns, counts = columns_of(rows, n)
    values, ids = scores.new_full((n, int(counts.max())), -torch.inf), places.new_zeros(n, int(counts.max()))
    values[rows, columns] = searched[rows, places]
    ids[rows, columns] = starts[rows, places // BLOCK] + places % BLOCK
    found = values.topk(k)
    return found.values, ids.gather(1, found.indices)


def columns_of(rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The place of each of some things, which are in the order of n rows, in its row, (m,); and how many each row has, (n,)."""
    counts = torch.bincount(rows, minlength=n)
    return torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows], counts


def worth_blocks(scores: Tensor, k: int) -> bool:
    """On a GPU, ``torch.topk`` is quicker by itself."""
    return scores.device.type == "cpu" and scores.shape[1] >= 4 * k * BLOCK
