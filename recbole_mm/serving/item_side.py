"""The item side of a model in use: features and vectors of its items and of those added since."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recbole_mm.errors import InputError, nearest
from recbole_mm.serving.item_source import ItemSource
from recbole_mm.serving.queries import QueryEncoder
from recbole_mm.serving.scores import Scores
from recbole_mm.serving.served_items import ServedItems


class ItemSide:
    """Features and vectors by row of ``served``.

    Args:
        source: of the features.
        scores: of the model.
        served: the items, to which ``add`` adds.
    """

    def __init__(self, source: ItemSource, scores: Scores, served: ServedItems) -> None:
        self.source, self.scores, self.served = source, scores, served
        self._taken = False

    @property
    def modalities(self) -> list[str]:
        """Those of the features."""
        self._take_features()
        return self.served.modalities

    def features(self, modality: str) -> tuple[Tensor, Tensor]:
        """The features (n_rows, d) of a modality, and which items have it: bool (n_rows,).

        Raises:
            InputError: the items have no such modality.
        """
        if modality not in self.modalities:
            known = self.modalities
            raise InputError(f"no features '{modality}': by may be {', '.join(['model', *known])}{nearest(modality, known)}")
        return self.served.features(modality)

    def vectors(self) -> Tensor:
        """The model's vectors of all items (n_rows, d).

        Raises:
            InputError: the model's score is no dot product.
        """
        known = self.scores.vectors()[1]
        return torch.cat([known, self.served.vectors]) if len(self.served.vectors) else known

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Adds items from the columns of the ``.item`` file (see ``Recommender.add_items``).

        Raises:
            InputError: a row without a token, a picture that cannot be read, or a model that cannot rank such items; then none is added.
        """
        made = []
        for row in rows:
            token = str(row.get(self.source.id_field) or "").strip()
            if not token:
                raise InputError(f"a new item needs a token, in the column '{self.source.id_field}'")
            features, present = self.source.read(row, token)
            made.append((token, self.source.vector(features), features, present))
        self._take_features()
        for item in made:
            self.served.add(*item)

    @property
    def queries(self) -> QueryEncoder:
        """The run's encoder.

        Raises:
            InputError: there is none.
        """
        return self.source.queries

    def _take_features(self) -> None:
        if not self._taken:
            for modality, (rows, present) in self.source.features().items():
                self.served.keep_features(modality, rows, present)
            self._taken = True
