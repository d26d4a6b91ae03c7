"""Linear maps of items' wide features."""

import torch
from torch import Tensor
from torch.nn import functional

ROWS_AT_ONCE = 128
"""So many rows of 4096 numbers are still in a core's cache when they are multiplied."""


def project_rows(table: Tensor, ids: Tensor | None, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``functional.linear(table[ids], weight, bias)``, or of the whole table where ``ids`` is None.

    Args:
        table: (n_items, width), without a gradient.
        ids: (n,).
        weight, bias: (size, width) and (size,).

    Returns:
        (n, size).
    """
    if ids is None:
        return functional.linear(table, weight, bias)
    if table.device.type != "cpu" or torch.is_autocast_enabled("cpu") or table.dtype != weight.dtype:
        return functional.linear(table.index_select(0, ids), weight, bias)
    rows = _ProjectedRows.apply(table, ids, weight)
    return rows if bias is None else rows + bias


class _ProjectedRows(torch.autograd.Function):
    """Each few rows are multiplied as soon as they are gathered, so that the product need not read them from memory again."""

    @staticmethod
    def forward(ctx, table: Tensor, ids: Tensor, weight: Tensor) -> Tensor:
        gathered, projected = table.new_empty(len(ids), table.shape[1]), weight.new_empty(len(ids), len(weight))
        for some, rows, out in zip(*(all_of.split(ROWS_AT_ONCE) for all_of in (ids, gathered, projected)), strict=True):
            torch.mm(torch.index_select(table, 0, some, out=rows), weight.T, out=out)
        ctx.save_for_backward(gathered)
        return projected

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, None, Tensor]:
        (gathered,) = ctx.saved_tensors
        return None, None, gradient.T @ gathered
