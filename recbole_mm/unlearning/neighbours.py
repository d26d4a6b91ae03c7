"""Neighbours: what can be known of anybody's taste from the interactions alone, without a model."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


class Cosines:
    """Scores of items by the sum of their cosines to what a user has.

    Args:
        users, items: (m,), the interactions that the cosines are taken over.
        shape: the numbers of users and items.

    Attributes:
        popularity: how many users each item has, float32 (n_items,).
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> None:
        matrix = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)
        matrix.data[:] = 1
        self.popularity = torch.from_numpy(matrix.getnnz(0).astype(np.float32))
        lengths = np.sqrt(np.maximum(matrix.getnnz(0), 1))
        self.by_item = matrix @ sparse.diags((1 / lengths).astype(np.float32))

    def __call__(self, histories: Sequence[Tensor]) -> Tensor:
        """Of n histories: (n, n_items). An item is not its own neighbour."""
        rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        columns, shape = torch.cat(list(histories)).numpy(), (len(histories), self.by_item.shape[1])
        own = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
        return torch.from_numpy(((own @ self.by_item.T) @ self.by_item - own).toarray())
