"""Where the features and vectors of items come from."""

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.errors import InputError
from recbole_mm.serving.new_items import NewItemFeatures
from recbole_mm.serving.queries import QueryEncoder


class ItemSource(Protocol):
    """What gives the features of the model's items and of new ones.

    Attributes:
        id_field: the column of a new item that holds its token.
        columns: which of its columns hold its texts and its picture.
        queries: the run's encoder. Asking for it raises an InputError where there is none.
    """

    id_field: str
    columns: ContentSettings
    queries: QueryEncoder

    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By modality, the features (n_items, d) of the model's items, and which items have it: bool (n_items,)."""

    def read(self, row: Mapping[str, object], token: str) -> tuple[dict[str, Tensor], dict[str, bool]]:
        """The features {modality: (d,)} of a new item from its columns, and which of the modalities it has.

        Raises:
            InputError: see ``NewItemFeatures.of``; or the model cannot rank new items.
        """

    def vector(self, features: Mapping[str, Tensor]) -> Tensor:
        """The model's vector (d,) of a new item from its features {modality: (d,)}."""


class RunSource:
    """The items of a run that has been loaded with its data set.

    Args:
        config, model, training_part: of the run; ``training_part`` is its training data set.
    """

    def __init__(self, config, model, training_part) -> None:
        self.id_field, self._config, self._model = config["ITEM_ID_FIELD"], config, model
        self._training_part, self._features = training_part, getattr(model, "item_features", None)

    @torch.no_grad()
    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        if self._features is None:
            return {}
        return {m: (rows.float().cpu(), self._features.present(m).cpu()) for m, rows in self._features.table().items()}

    def read(self, row: Mapping[str, object], token: str) -> tuple[dict[str, Tensor], dict[str, bool]]:
        return self._reader.of(row, token)

    def vector(self, features: Mapping[str, Tensor]) -> Tensor:
        batch = {m: values.unsqueeze(0).to(self._config["device"]) for m, values in features.items()}
        return self._model.item_vectors(batch)[0].float().cpu()

    @property
    def columns(self) -> ContentSettings:
        return self._reader.columns

    @cached_property
    def queries(self) -> QueryEncoder:
        return QueryEncoder(self._config, self._features, self._training_part)

    @cached_property
    def _reader(self) -> NewItemFeatures:
        if self._features is None or not hasattr(self._model, "item_vectors"):
            raise InputError(f"{self._config['model']} without item features cannot rank items that it was not trained with")
        encoded = not set(self._features.modalities) <= set(self._config["feature_files"] or {})
        return NewItemFeatures(self._config, self._features, self.queries if encoded else None)
