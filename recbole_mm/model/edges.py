"""Edges whose weights are computed from their ends and carry gradients, as attention over neighbours needs them."""

import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.sparse import at_least_single, csr_tensor


class Edges:
    """The places of a sparse matrix's entries, whose values change from step to step and carry gradients. For E entries it keeps tensors of
    E numbers, never (E, d), and no row is padded to another's length.

    Args:
        rows, columns: the places (E,), all different.
        shape: (n_rows, n_columns).

    Attributes:
        rows, columns: the places, sorted by row and column. Values (E,) have this order.
    """

    def __init__(self, rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> None:
        order = torch.argsort(rows * shape[1] + columns)
        self.rows, self.columns, self.shape = rows[order], columns[order], shape
        self.by_column = torch.argsort(self.columns * shape[0] + self.rows)
        self._starts, self._starts_by_column = (
            functional.pad(torch.bincount(ids, minlength=n).cumsum(0), (1, 0)) for ids, n in zip((rows, columns), shape, strict=True)
        )

    @classmethod
    def of_users(cls, graph: InteractionGraph) -> "Edges":
        """Users x items: the entries of ``graph.user_item()``."""
        return cls(graph.users, graph.items, (graph.n_users, graph.n_items))

    @classmethod
    def of_nodes(cls, graph: InteractionGraph) -> "Edges":
        """Users, then items, squared: the entries of ``graph.adjacency()``, each pair in both directions."""
        nodes, items = graph.n_users + graph.n_items, graph.items + graph.n_users
        return cls(torch.cat([graph.users, items]), torch.cat([items, graph.users]), (nodes, nodes))

    def __len__(self) -> int:
        return len(self.rows)

    def products(self, a: Tensor, b: Tensor) -> Tensor:
        """The dot product of each entry's row of a (n_rows, d) and row of b (n_columns, d): (E,)."""
        return _EdgeProducts.apply(a, b, self)

    def softmax(self, scores: Tensor) -> Tensor:
        """The softmax of scores (E,) over the entries of each row."""
        scores, n = at_least_single(scores), self.shape[0]
        highest = scores.new_zeros(n).scatter_reduce(0, self.rows, scores.detach(), "amax", include_self=False)
        shares = (scores - highest[self.rows]).exp()
        return shares / shares.new_zeros(n).index_add(0, self.rows, shares)[self.rows]

    def sum(self, values: Tensor, x: Tensor) -> Tensor:
        """The product of the matrix with these values (E,) and x (n_columns, d): (n_rows, d)."""
        return _EdgeSum.apply(values, x, self)

    def matrix(self, values: Tensor) -> Tensor:
        """The CSR tensor with these values (E,)."""
        return csr_tensor(self._starts, self.columns, values, self.shape)

    def transposed(self, values: Tensor) -> Tensor:
        """Its transpose."""
        return csr_tensor(self._starts_by_column, self.rows[self.by_column], values[self.by_column], self.shape[::-1])

    def products_without_gradient(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.sparse.sampled_addmm(self.matrix(a.new_zeros(len(self))), a, b.T, beta=0.0).values()


class _EdgeProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, edges: Edges) -> Tensor:
        a, b = at_least_single(a), at_least_single(b)
        ctx.edges = edges
        ctx.save_for_backward(a, b)
        with torch.autocast(a.device.type, enabled=False):
            return edges.products_without_gradient(a, b)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        a, b = ctx.saved_tensors
        return ctx.edges.matrix(grad) @ b, ctx.edges.transposed(grad) @ a, None


class _EdgeSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, x: Tensor, edges: Edges) -> Tensor:
        values, x = at_least_single(values), at_least_single(x)
        ctx.edges = edges
        ctx.save_for_backward(values, x)
        with torch.autocast(x.device.type, enabled=False):
            return edges.matrix(values) @ x

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        values, x = ctx.saved_tensors
        grad = grad.contiguous()
        return ctx.edges.products_without_gradient(grad, x), ctx.edges.transposed(values) @ grad, None
