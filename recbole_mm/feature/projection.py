"""Linear maps of items' wide features."""

import torch
from torch import Tensor
from torch.nn import functional

GATHERED_AT_ONCE, MULTIPLIED_AT_ONCE = 128, 512
"""So many rows of 4096 numbers are still in a core's cache when they are multiplied; and so many are multiplied quickest."""


def project_rows(table: Tensor, ids: Tensor | None, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``functional.linear(table[ids], weight, bias)``, or of the whole table where ``ids`` is None.

    Args:
        table: (n_items, width), without a gradient.
        ids: (n,).
        weight, bias: (size, width) and (size,).

    Returns:
        (n, size).
    """
    if table.device.type != "cpu" or torch.is_autocast_enabled("cpu") or table.dtype != weight.dtype:
        return functional.linear(table if ids is None else table.index_select(0, ids), weight, bias)
    rows = _ProjectedRows.apply(table, ids, weight)
    return rows if bias is None else rows + bias


class _ProjectedRows(torch.autograd.Function):
    """A few rows are multiplied at a time, as soon as they are gathered."""

    @staticmethod
    def forward(ctx, table: Tensor, ids: Tensor | None, weight: Tensor) -> Tensor:
        rows = table if ids is None else table.new_empty(len(ids), table.shape[1])
        projected = weight.new_empty(len(rows), len(weight))
        n = MULTIPLIED_AT_ONCE if ids is None else GATHERED_AT_ONCE
        for start in range(0, len(rows), n):
            part = rows[start : start + n]
            if ids is not None:
                torch.index_select(table, 0, ids[start : start + n], out=part)
            torch.mm(part, weight.T, out=projected[start : start + n])
        ctx.save_for_backward(rows)
        return projected

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, None, Tensor]:
        (rows,) = ctx.saved_tensors
        return None, None, gradient.T @ rows
