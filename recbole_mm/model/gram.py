"""The inner products of items, of which linear models are made: over users, over features, or over both."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recbole_mm.model.sparse import CELLS_AT_ONCE


class Gram:
    """X^T X + Z Z^T, computed in parts.

    Args:
        interactions: X (n_users, n_items).
        features: Z (n_items, d); None without features.
        device: of what is computed.
    """

    def __init__(self, interactions: sparse.csr_matrix, features: Tensor | None, device: torch.device) -> None:
        self.users, self.features, self.device = interactions.tocsc(), features, device
        self.transposed = self.users.T.tocsr()
        self.n_items = interactions.shape[1]
        self.counts = torch.from_numpy(np.asarray(interactions.sum(0)).ravel()).to(device)
        self.diagonal = self.counts if features is None else self.counts + features.pow(2).sum(1)

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Items (c,) and their rows (c, n_items), for all items."""
        for items in torch.arange(self.n_items).split(max(1, CELLS_AT_ONCE // self.n_items)):
            rows = torch.from_numpy((self.transposed[items.numpy()] @ self.users).toarray()).to(self.device)
            items = items.to(self.device)
            yield items, rows if self.features is None else rows + self.features[items] @ self.features.T

    def whole(self) -> Tensor:
        """(n_items, n_items), in double precision."""
        found = torch.empty(self.n_items, self.n_items, dtype=torch.float64, device=self.device)
        for items, rows in self.chunks():
            found[items] = rows.double()
        return found

    def block(self, items: Tensor) -> Tensor:
        """The rows and columns of some items: (k, k)."""
        own = self.transposed[items.cpu().numpy()]
        block = torch.from_numpy((own @ own.T).toarray()).to(self.device)
        return block if self.features is None else block + self.features[items] @ self.features[items].T
