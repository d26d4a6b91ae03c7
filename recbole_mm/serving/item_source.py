"""Where the features and vectors of items come from."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.errors import InputError
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.serving.new_items import NewItemFeatures
from recbole_mm.serving.queries import QueryEncoder, run_queries

NO_COMPONENTS = "feature_rank {}: features are components of the items in training, which new ones do not have; train without feature_rank"
NO_NEW_ITEMS = "{} without item features cannot rank items that it was not trained with"


class ItemSource(Protocol):
    """What gives the features of the model's items and of new ones.

    Attributes:
        id_field: the column of a new item that holds its token.
        columns: which of its columns hold its texts and its picture.
        vector_fields: those that hold the features of a modality themselves.
        queries: the run's encoder. Asking for it raises an InputError where there is none.
    """

    id_field: str
    columns: ContentSettings
    vector_fields: frozenset[str]
    queries: QueryEncoder

    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By modality, the features (n_items, d) of the model's items, and which items have it: bool (n_items,)."""

    def read(self, rows: Sequence[Mapping[str, object]], tokens: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The features {modality: (n, d)} of new items from their columns, and which of the modalities they have: {modality: bool (n,)}.

        Raises:
            InputError: see ``NewItemFeatures.of``; or the model cannot rank new items.
        """

    def vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """The model's vectors (n, d) of new items from their features {modality: (n, width)}."""


class ModelSource:
    """The items of a model, which says itself how a new item's vector comes from its features.

    Args:
        config, model: of the run.
        queries: gives the run's encoder, or raises an InputError.
    """

    def __init__(self, config, model, queries: Callable[[], QueryEncoder]) -> None:
        self.id_field, self.config, self.model, self._queries = config["ITEM_ID_FIELD"], config, model, queries
        self._features = features_of(model)

    @torch.no_grad()
    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        if self._features is None:
            return {}
        return {m: (rows.float().cpu(), self._features.present(m).cpu()) for m, rows in self._features.table().items()}

    def read(self, rows: Sequence[Mapping[str, object]], tokens: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self._reader.of(rows, tokens)

    def completed(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features {modality: (n, d)} of items that were added to another model, with what stands in here for those they lack."""
        return {m: torch.where(present[m].unsqueeze(1), rows, self._reader.missing(m)) for m, rows in features.items()}

    def vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        rows = self.model.item_vectors({m: values.to(self.config["device"]) for m, values in features.items()})
        return self.model.ranked(rows).float().cpu()

    @property
    def columns(self) -> ContentSettings:
        return self._reader.columns

    @property
    def vector_fields(self) -> frozenset[str]:
        return self._reader.vector_fields

    @cached_property
    def queries(self) -> QueryEncoder:
        return self._queries()

    @cached_property
    def _reader(self) -> NewItemFeatures:
        if self._features is None or not hasattr(self.model, "item_vectors"):
            raise InputError(NO_NEW_ITEMS.format(self.config["model"]))
        if self.config["feature_rank"]:
            raise InputError(NO_COMPONENTS.format(self.config["feature_rank"]))
        return NewItemFeatures(self.config, self._features, lambda: self.queries)


class RunSource(ModelSource):
    """The items of a run that has been loaded with its data set.

    Args:
        config, model, training_part: of the run; ``training_part`` is its training data set.
    """

    def __init__(self, config, model, training_part) -> None:
        super().__init__(config, model, lambda: run_queries(config, self._features, training_part))
        self.training_part = training_part


def features_of(model) -> ItemFeatures | None:
    """The features of a model's items; None where they have none."""
    return model.item_features if isinstance(model, FeatureModel) else None
