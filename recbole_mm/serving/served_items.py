"""The items that are recommended: those that the model was trained with, and those added since."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_mm.errors import unknown
from recbole_mm.serving.journal import AddedItem


class ServedItems:
    """Items by row: first the model's by their internal ids, padding included, then those added since, in their order.

    Args:
        tokens: the model's items by internal id; the first is padding.
        gone: ids of items that are never recommended.

    Attributes:
        tokens: of every row.
        allowed: bool (n_rows,), which rows may be recommended.
        vectors: float (n_added, d), of the rows behind the model's own.
    """

    def __init__(self, tokens: Sequence[str], gone: Tensor) -> None:
        self.tokens = np.array(tokens, dtype=object)
        self.n_known = len(tokens)
        self.allowed = torch.ones(self.n_known, dtype=torch.bool)
        self.allowed[0] = False
        self.allowed[gone] = False
        self.vectors = torch.zeros(0, 0)
        self._rows = {token: row for row, token in enumerate(tokens) if row}
        self._current = torch.arange(self.n_known)
        self._origins: list[int | None] = []
        self._features: dict[str, tuple[Tensor, Tensor]] = {}
        self._added: list[AddedItem] = []

    def __contains__(self, token: str) -> bool:
        return token in self._rows and bool(self.allowed[self._rows[token]])

    def rows(self, tokens: Iterable[str]) -> Tensor:
        """The rows of items (n,).

        Raises:
            UnknownToken: an unknown item.
        """
        tokens = list(tokens)
        for token in tokens:
            if token not in self._rows:
                raise unknown("item", token, self._rows)
        return torch.tensor([self._rows[token] for token in tokens], dtype=torch.int64)

    def current(self, ids: Tensor) -> Tensor:
        """The rows that now stand for the model's internal ids (n,)."""
        return self._current[ids]

    def among(self, candidates: Iterable[str] | None) -> Tensor:
        """Which rows may be recommended where only ``candidates`` are wanted: bool (n_rows,)."""
        if candidates is None:
            return self.allowed.clone()
        wanted = torch.zeros_like(self.allowed)
        wanted[self.rows(candidates)] = True
        return wanted & self.allowed

    def add(self, items: Sequence[AddedItem]) -> None:
        """Adds items behind all others, each in the place of the item with its token, if there is one."""
        for row, item in enumerate(items, len(self.tokens)):
            before = self._rows.get(item.item)
            origin = before if before is None or before < self.n_known else self._origins[before - self.n_known]
            if before is not None and before < len(self.allowed):
                self.allowed[before] = False
            if origin is not None:
                self._current[origin] = row
            self._origins.append(origin)
            self._rows[item.item] = row
        newest = torch.tensor([self._rows[item.item] == row for row, item in enumerate(items, len(self.tokens))])
        self.tokens = np.append(self.tokens, np.array([item.item for item in items], dtype=object))
        self.allowed = torch.cat([self.allowed, newest])
        vectors = torch.from_numpy(np.stack([item.vector for item in items]))
        self.vectors = torch.cat([self.vectors.view(-1, vectors.shape[1]), vectors])
        self._added.extend(items)

    def remove(self, tokens: Iterable[str]) -> None:
        """Takes items out of all recommendations."""
        self.allowed[self.rows(tokens)] = False

    def keep_features(self, modality: str, rows: Tensor, present: Tensor) -> None:
        """Takes over the model's features of a modality (n_known, d), and which items have it."""
        self._features[modality] = rows, present

    def features(self, modality: str) -> tuple[Tensor, Tensor]:
        """The features (n_rows, d) of a modality, and which items have it (n_rows,)."""
        rows, present = self._features[modality]
        if not self._added:
            return rows, present
        added = torch.from_numpy(np.stack([item.features[modality] for item in self._added]))
        return torch.cat([rows, added]), torch.cat([present, torch.tensor([item.present[modality] for item in self._added])])

    @property
    def modalities(self) -> list[str]:
        """Those of the features."""
        return list(self._features)

    @property
    def n_added(self) -> int:
        """How many of the items that are recommended are none of the model's own, or updates of them."""
        return int(self.allowed[self.n_known :].sum())
