"""Features less what all items have in common."""

import torch
from torch import Tensor
from torch.nn import functional

NOISE = 1e-5
"""Where less than this share of a row's length is left of it, the rest is rounding."""


def directions(rows: Tensor, present: Tensor) -> Tensor:
    """Rows (n_items, d) less their mean over the items that have any, bool (n_items,), and then of length 1, unless they have but one
    number. A row that is the mean has zeros."""
    centred = rows - rows[present].sum(0) / present.sum().clamp(min=1)
    if rows.shape[1] == 1:
        return centred
    lengths, whole = (values.detach().norm(dim=1, keepdim=True) for values in (centred, rows))
    return torch.where(lengths > NOISE * whole, functional.normalize(centred, dim=-1), torch.zeros_like(centred))
