"""The best items by score, without those that are left out."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

GROUP = 32
"""Columns whose maximum stands for them, where there are many."""
FEW = 2**15
"""Scores that are sorted sooner than divided into groups."""


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best k columns of every row of ``scores`` (n, m), best first; of equal ones the lower column. Columns of score -inf are never
    among them.

    Of many columns, every one of the best k lies in one of the k groups with the largest maxima: whatever group comes before its own has
    a column that comes before it. So these groups alone are sorted.

    Returns:
        rows, columns and scores, (p,) each, with p <= n * k.
    """
    if scores.shape[1] <= 2 * k * GROUP or scores.numel() <= FEW:
        return found(*top(scores, k))
    groups = top(group_maxima(scores), k)[1]
    columns = members(groups)
    own = scores.gather(1, columns.clamp_max(scores.shape[1] - 1)).masked_fill(columns >= scores.shape[1], -torch.inf)
    values, places = top(own, k)
    return found(values, columns.gather(1, places))


def top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns (n, min(k, m)) of the k largest in every row of ``scores`` (n, m), of equal ones the lower columns. Which of the
    columns of score -inf are taken is left open."""
    values, columns = scores.topk(min(k, scores.shape[1]), dim=1)
    if not columns.numel():
        return values, columns
    last = values[:, -1:]
    torn = (last > -torch.inf).squeeze(1) & ((scores == last).sum(1) > (values == last).sum(1))
    if torn.any():
        columns[torn] = scores[torn].sort(dim=1, descending=True, stable=True).indices[:, : columns.shape[1]]
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def group_maxima(scores: Tensor) -> Tensor:
    """The maximum of every GROUP columns of ``scores`` (n, m): (n, m / GROUP, rounded up). The last group may be shorter."""
    whole = scores.shape[1] // GROUP * GROUP
    maxima = scores[:, :whole].unflatten(1, (-1, GROUP)).amax(2)
    return maxima if whole == scores.shape[1] else torch.cat([maxima, scores[:, whole:].amax(1, keepdim=True)], 1)


def members(groups: Tensor) -> Tensor:
    """The columns (n, k * GROUP) of groups (n, k), ascending in every row. Those of the last group may lie behind the end."""
    return (groups.sort(dim=1).values.unsqueeze(2) * GROUP + torch.arange(GROUP)).flatten(1)


def found(values: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values of a table of the best (n, k), without those of value -inf: (p,) each."""
    rows, kept = torch.arange(len(columns)).unsqueeze(1).expand_as(columns), values > -torch.inf
    return rows[kept], columns[kept], values[kept]


def cosines(query: Tensor, rows: Tensor) -> Tensor:
    """The cosine of a query (d,) and every row (n, d): (n,); 0 for rows that are 0."""
    return rows @ torch.nn.functional.normalize(query, dim=0) / rows.norm(dim=1).clamp_min(1e-12)


def standardised(scores: Tensor, present: Tensor, wanted: bool) -> Tensor:
    """Scores (n,) with mean 0 and deviation 1 over the items that have them (``present``); as they are, unless ``wanted``."""
    own = scores[present]
    return (scores - own.mean()) / own.std(correction=0).clamp_min(1e-12) if wanted and len(own) else scores


def item_table(items: Sequence[str], scores: Tensor) -> pd.DataFrame:
    """The columns ``item, rank, score``, the best first."""
    return pd.DataFrame({"item": list(items), "rank": range(1, len(items) + 1), "score": scores.tolist()})
