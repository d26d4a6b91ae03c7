"""The items that are recommended: those that the model was trained with, and those added since."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_mm.errors import InputError, nearest


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
        self._features: dict[str, tuple[Tensor, Tensor]] = {}

    def __contains__(self, token: str) -> bool:
        return token in self._rows and bool(self.allowed[self._rows[token]])

    def rows(self, tokens: Iterable[str]) -> Tensor:
        """The rows of items (n,).

        Raises:
            InputError: an unknown item.
        """
        tokens = list(tokens)
        for token in tokens:
            if token not in self._rows:
                raise InputError(f"unknown item '{token}'{nearest(str(token), self._rows, cutoff=0.8)}")
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

    def add(self, token: str, vector: Tensor, features: Mapping[str, Tensor], present: Mapping[str, bool]) -> None:
        """Adds an item behind all others, or in the place of the item with this token."""
        row = len(self.tokens)
        if token in self._rows:
            self.allowed[self._rows[token]] = False
            self._current[self._current == self._rows[token]] = row
        self._rows[token] = row
        self.tokens = np.append(self.tokens, np.array([token], dtype=object))
        self.allowed = torch.cat([self.allowed, torch.tensor([True])])
        self.vectors = torch.cat([self.vectors.view(-1, len(vector)), vector.unsqueeze(0)])
        for modality, (rows, here) in self._features.items():
            self._features[modality] = (
                torch.cat([rows, features[modality].unsqueeze(0)]),
                torch.cat([here, torch.tensor([present[modality]])]),
            )

    def remove(self, tokens: Iterable[str]) -> None:
        """Takes items out of all recommendations.

        Raises:
            InputError: an unknown item; then none is taken out.
        """
        self.allowed[self.rows(tokens)] = False

    def keep_features(self, modality: str, rows: Tensor, present: Tensor) -> None:
        """Takes over the model's features of a modality (n_known, d), and which items have it. To be called before anything is added."""
        self._features[modality] = rows, present

    def features(self, modality: str) -> tuple[Tensor, Tensor]:
        """The features (n_rows, d) of a modality, and which items have it (n_rows,)."""
        return self._features[modality]

    @property
    def modalities(self) -> list[str]:
        """Those of the features."""
        return list(self._features)
