"""Sparse products with gradients. For the backward pass they keep their inputs and nothing larger."""

import warnings

import torch
from torch import Tensor
from torch.nn import functional

CELLS_AT_ONCE = 2**24


class SparseMatrix:
    """A constant sparse matrix (CSR); ``matrix @ x`` is differentiable with respect to the dense x (n_columns, d).

    Args:
        rows, columns, values: the entries (E,), in any order. Repeated entries add up.
        shape: (n_rows, n_columns).
        symmetric: whether the matrix equals its transpose, which is then not stored a second time.
    """

    def __init__(self, rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int], symmetric: bool = False) -> None:
        self.shape = shape
        self.forward_csr = _csr(rows, columns, values, shape)
        self.backward_csr = self.forward_csr if symmetric else _csr(columns, rows, values, shape[::-1])

    def __matmul__(self, x: Tensor) -> Tensor:
        x = at_least_single(x)
        if (self.forward_csr.dtype, self.forward_csr.device) != (x.dtype, x.device):
            shared = self.backward_csr is self.forward_csr
            self.forward_csr = self.forward_csr.to(x.device, x.dtype)
            self.backward_csr = self.forward_csr if shared else self.backward_csr.to(x.device, x.dtype)
        return _SparseProduct.apply(self.forward_csr, self.backward_csr, x)

    def dropout(self, rate: float) -> "SparseMatrix":
        """The matrix in which each entry is kept with probability 1 - rate, and counts 1 / (1 - rate) of what it was."""
        starts, columns, values = self.forward_csr.crow_indices(), self.forward_csr.col_indices(), self.forward_csr.values()
        rows = torch.arange(self.shape[0], device=values.device).repeat_interleave(starts.diff())
        kept = torch.rand(len(values), device=values.device) >= rate
        return SparseMatrix(rows[kept], columns[kept].long(), values[kept] / (1 - rate), self.shape)


class PairProducts(torch.autograd.Function):
    """The dot products (n, k) of each row with its k neighbours' rows, without keeping an (n, k, d) tensor."""

    @staticmethod
    def forward(ctx, x: Tensor, indices: Tensor) -> Tensor:
        x = at_least_single(x)
        ctx.save_for_backward(x, indices)
        with torch.autocast(x.device.type, enabled=False):
            return _pair_products(x, x, indices)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        x, indices = ctx.saved_tensors
        return _neighbour_csr(indices, grad) @ x + _neighbour_csr(indices, grad, transposed=True) @ x, None


class NeighbourSum(torch.autograd.Function):
    """sum_k weights[i, k] h[indices[i, k]], without keeping an (n, k, d) tensor."""

    @staticmethod
    def forward(ctx, weights: Tensor, h: Tensor, indices: Tensor) -> Tensor:
        weights, h = at_least_single(weights), at_least_single(h)
        ctx.save_for_backward(weights, h, indices)
        with torch.autocast(h.device.type, enabled=False):
            return _neighbour_csr(indices, weights) @ h

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        weights, h, indices = ctx.saved_tensors
        grad = grad.contiguous()
        return _pair_products(grad, h, indices), _neighbour_csr(indices, weights, transposed=True) @ grad, None


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
        ctx.transposed = transposed
        with torch.autocast(x.device.type, enabled=False):
            return matrix @ x

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return None, None, ctx.transposed @ grad.contiguous()


def at_least_single(x: Tensor) -> Tensor:
    """The tensor in single precision at least, the lowest that sparse products have, under autocast as well."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    if values.is_cuda and len(rows) > shape[0] * shape[1]:
        rows, columns, values = _without_repeats(rows, columns, values, shape)
    order = torch.argsort(rows * shape[1] + columns, stable=True)
    starts = functional.pad(torch.bincount(rows, minlength=shape[0]).cumsum(0), (1, 0))
    return csr_tensor(starts, columns[order], values[order], shape)


def csr_tensor(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    index = torch.int32 if len(values) < 2**31 else torch.int64
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")
        return torch.sparse_csr_tensor(starts.to(index), columns.to(index), values, shape, check_invariants=False)


def _without_repeats(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The same matrix, repeated entries added up: cuSPARSE takes no more entries than a matrix has cells, which the graphs of a few items
    with many neighbours exceed."""
    cells, places = torch.unique(rows * shape[1] + columns, return_inverse=True)
    return cells // shape[1], cells % shape[1], values.new_zeros(len(cells)).index_add(0, places, values)


def _neighbour_csr(indices: Tensor, values: Tensor, transposed: bool = False) -> Tensor:
    n, k = indices.shape
    rows, columns = torch.arange(n, device=indices.device).repeat_interleave(k), indices.flatten()
    if transposed:
        rows, columns = columns, rows
    return _csr(rows, columns, values.flatten(), (n, n))


def _pair_products(a: Tensor, b: Tensor, indices: Tensor) -> Tensor:
    """The dot products (n, k) of row i of a with the rows indices[i] of b, computed a few rows at a time."""
    n, k = indices.shape
    chunks = torch.arange(n, device=indices.device).split(max(1, CELLS_AT_ONCE // (k * a.shape[1])))
    return torch.cat([torch.einsum("nd,nkd->nk", a[rows], b[indices[rows]]) for rows in chunks])
