"""The best items by score, without those that are left out."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best k columns of every row of ``scores`` (n, n_items), best first. Columns of score -inf are never among them.

    Returns:
        rows, columns and scores, (m,) each, with m <= n * k.
    """
    values, columns = scores.topk(min(k, scores.shape[1]), dim=1)
    rows = torch.arange(len(scores)).unsqueeze(1).expand_as(columns)
    kept = values > -torch.inf
    return rows[kept], columns[kept], values[kept]


def cosines(query: Tensor, rows: Tensor) -> Tensor:
    """The cosine of a query (d,) and every row (n, d): (n,)."""
    return torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(query, dim=0)


def standardised(scores: Tensor, present: Tensor, wanted: bool) -> Tensor:
    """Scores (n,) with mean 0 and deviation 1 over the items that have them (``present``); as they are, unless ``wanted``."""
    own = scores[present]
    return (scores - own.mean()) / own.std(correction=0).clamp_min(1e-12) if wanted and len(own) else scores


def item_table(items: Sequence[str], scores: Tensor) -> pd.DataFrame:
    """The columns ``item, rank, score``, the best first."""
    return pd.DataFrame({"item": list(items), "rank": range(1, len(items) + 1), "score": scores.tolist()})
