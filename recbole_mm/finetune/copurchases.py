"""Copurchases: which contents were consumed by the same users."""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Generator, Tensor

from recbole_mm.finetune.units import Units


class Copurchases:
    """Interactions of users with units, from which partners of units are drawn.

    Args:
        users, items: (m,), internal ids of the training interactions; repeated interactions count once.
        user_tokens: the token of each internal user id, which decides the order of the users.
        units: the units of the catalogue.
        among: bool (n,), the units that take part.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, user_tokens: list[str], units: Units, among: Tensor) -> None:
        order = np.argsort(np.argsort(np.array(user_tokens)))
        unit = units.of_item.numpy()[items]
        here = (unit >= 0) & among.numpy()[unit]
        matrix = csr_matrix((np.ones(here.sum()), (order[users[here]], unit[here])), shape=(len(order), len(units)))
        matrix = matrix[matrix.getnnz(1) > 1]
        matrix.sort_indices()
        matrix.data[:] = 1
        self.of_user, self.of_unit = matrix, matrix.T.tocsr()
        self.of_unit.sort_indices()

    def paired(self) -> Tensor:
        """bool (n,): which units share a user with another unit."""
        return torch.from_numpy(self.of_unit.getnnz(1) > 0)

    def partners(self, chosen: Tensor, generator: Generator) -> Tensor:
        """Draws a partner for each of (k,) paired units: first one of its users, then one of the other units of that user."""
        unit = chosen.numpy()
        lots = torch.rand(2, len(unit), generator=generator, dtype=torch.float64).numpy()
        user = _nth(self.of_unit, unit, lots[0] * self.of_unit.getnnz(1)[unit])
        others = self.of_user.getnnz(1)[user] - 1
        drawn = _nth(self.of_user, user, lots[1] * others)
        return torch.from_numpy(np.where(drawn == unit, _nth(self.of_user, user, others), drawn).astype(np.int64))

    def together(self, left: Tensor, right: Tensor) -> Tensor:
        """bool (k, l): which pairs of units some user consumed both of; a unit also goes together with itself."""
        common = (self.of_unit[left.numpy()] @ self.of_unit[right.numpy()].T).toarray() > 0
        return torch.from_numpy(common) | (left[:, None] == right)

    def data(self) -> dict[str, Tensor]:
        """All interactions as tensors, the users in the order of their tokens."""
        parts = {"users": self.of_user.indptr, "units": self.of_user.indices}
        return {name: torch.from_numpy(part.astype(np.int64)) for name, part in parts.items()}


def _nth(matrix: csr_matrix, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The column of the entry at a place (rounded down) in each row."""
    return matrix.indices[matrix.indptr[rows] + places.astype(np.int64)]
