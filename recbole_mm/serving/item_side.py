"""The item side of a model in use: features and vectors of its items and of those added since."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from recbole_mm.errors import InputError, nearest
from recbole_mm.serving.item_source import ItemSource
from recbole_mm.serving.item_texts import title_of
from recbole_mm.serving.journal import AddedItem
from recbole_mm.serving.new_items import picture_in
from recbole_mm.serving.queries import QueryEncoder
from recbole_mm.serving.scores import Scores
from recbole_mm.serving.served_items import ServedItems
from recbole_mm.serving.thumbnails import thumbnail_of

ENCODED_AT_ONCE = 64


class ItemSide:
    """Features and vectors by row of ``served``.

    Args:
        source: of the features.
        scores: of the model.
        served: the items.
    """

    def __init__(self, source: ItemSource, scores: Scores, served: ServedItems) -> None:
        self.source, self.scores, self.served = source, scores, served
        self._taken, self._vectors = False, None

    @property
    def modalities(self) -> list[str]:
        """Those of the features."""
        self.take_features()
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
        known, added = self.scores.vectors()[1], self.served.vectors
        if not len(added):
            return known
        if self._vectors is None or len(self._vectors) != len(known) + len(added):
            self._vectors = torch.cat([known, added])
        return self._vectors

    def encoded(self, rows: Iterable[Mapping[str, object]]) -> list[AddedItem]:
        """What is added of new items, from the columns of the ``.item`` file (see ``Recommender.add_items``).

        Raises:
            InputError: a row without a token, a picture that cannot be read, or a model that cannot rank such items.
        """
        rows = list(rows)
        return [item for start in range(0, len(rows), ENCODED_AT_ONCE) for item in self._encoded(rows[start : start + ENCODED_AT_ONCE])]

    def _encoded(self, rows: Sequence[Mapping[str, object]]) -> list[AddedItem]:
        columns, tokens = self.source.columns, [str(row.get(self.source.id_field) or "").strip() for row in rows]
        if not all(tokens):
            raise InputError(f"a new item needs a token, in the column '{self.source.id_field}'")
        features, present = self.source.read(rows, tokens)
        vectors, pictures = self.source.vectors(features).numpy(), [picture_in(row, columns.image_field) for row in rows]
        return [
            AddedItem(
                token, vectors[i], {m: values[i].numpy() for m, values in features.items()}, {m: bool(h[i]) for m, h in present.items()},
                title_of(row, columns.text_fields), None if picture is None else thumbnail_of(picture),
            )
            for i, (row, token, picture) in enumerate(zip(rows, tokens, pictures, strict=True))
        ]  # fmt: skip

    @property
    def queries(self) -> QueryEncoder:
        """The run's encoder.

        Raises:
            InputError: there is none.
        """
        return self.source.queries

    def take_features(self) -> None:
        """Takes over the features of the model's items, unless that has been done. An encoder that was trained encodes them for that: of
        several processes that it was trained in, all must call this, and each encodes a part."""
        if not self._taken:
            for modality, (rows, present) in self.source.features().items():
                self.served.keep_features(modality, rows, present)
            self._taken = True
