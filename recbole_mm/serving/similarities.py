"""Models that score an item by its similarity to what the user has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recbole_mm.model.similarity import SimilarityRecommender


@dataclass(frozen=True)
class ItemSimilarities:
    """A score that is the sum of an item's similarities to the user's items.

    Attributes:
        users: sparse (n_users, n_items), how often each user has each item in training.
        items: (n_items, n_items), the similarity of the row's item, which the user has, to the column's; sparse or dense.
        constant: float32 (n_items,), what every user's score of an item begins with.
    """

    users: sparse.csr_matrix
    items: sparse.csr_matrix | np.ndarray
    constant: np.ndarray

    @classmethod
    def of_model(cls, name: str, model) -> "ItemSimilarities | None":
        """Those of one of our models, or of RecBole's model of this name; None if it has none."""
        if isinstance(model, SimilarityRecommender):
            users, items = model.similarities()
            return cls(users, items, np.zeros(items.shape[1], np.float32))
        if name == "ItemKNN" and model.method == "item":
            similarity = model.w
        elif name in ("EASE", "SLIMElastic", "ADMMSLIM"):
            similarity = model.item_similarity
        else:
            return None
        items = similarity.tocsr() if sparse.issparse(similarity) else np.asarray(similarity)
        constant = np.zeros(items.shape[1], np.float32)
        if name == "ADMMSLIM" and model.center_columns:
            constant = model.item_means - np.asarray(model.item_means @ items).ravel()
        return cls(sparse.csr_matrix(model.interaction_matrix), items, constant.astype(np.float32))

    def of_users(self, users: Tensor) -> Tensor:
        """Scores of known users (n,): (n, n_items)."""
        return self._of(self.users[users.numpy()])

    def of_histories(self, histories: Sequence[Tensor]) -> Tensor:
        """Scores of anybody who has these items: (n, n_items)."""
        return self._of(self._rows(histories))

    def _rows(self, histories: Sequence[Tensor]) -> sparse.csr_matrix:
        lengths, items = [len(history) for history in histories], torch.cat(list(histories)).numpy()
        rows = np.repeat(np.arange(len(histories)), lengths)
        return sparse.csr_matrix((np.ones(len(items), np.float32), (rows, items)), (len(histories), self.items.shape[0]))

    def rows_of_users(self, users: Tensor) -> Tensor:
        """What known users (n,) have, by which the similarities of items that came later are multiplied: (n, n_items)."""
        return torch.from_numpy(self.users[users.numpy()].toarray())

    def rows_of_histories(self, histories: Sequence[Tensor]) -> Tensor:
        """The same of anybody who has these items."""
        return torch.from_numpy(self._rows(histories).toarray())

    def _of(self, users: sparse.csr_matrix) -> Tensor:
        scores = users @ self.items
        scores = scores.toarray() if sparse.issparse(scores) else np.asarray(scores)
        return torch.from_numpy(scores.astype(np.float32, copy=False) + self.constant)
