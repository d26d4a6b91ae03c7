"""The item side of a model in use: features and vectors of its items and of those added since."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from recbole_mm.errors import InputError, nearest
from recbole_mm.serving.model_scores import ModelScores
from recbole_mm.serving.new_items import NewItemFeatures
from recbole_mm.serving.queries import QueryEncoder
from recbole_mm.serving.served_items import ServedItems


class ItemSide:
    """Features and vectors by row of ``served``.

    Args:
        config, model, training_part: of the run; ``training_part`` is its training data set.
        scores: of the model.
        served: the items, to which ``add`` adds.
    """

    def __init__(self, config, model, training_part, scores: ModelScores, served: ServedItems) -> None:
        self.config, self.model, self.scores, self.served = config, model, scores, served
        self._training_part, self._features = training_part, getattr(model, "item_features", None)

    def features(self, modality: str) -> tuple[Tensor, Tensor]:
        """The features (n_rows, d) of a modality, and which items have it: bool (n_rows,).

        Raises:
            InputError: the items have no such modality.
        """
        self._take_features()
        known = self.served.modalities
        if modality not in known:
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
        if self._features is None or not hasattr(self.model, "item_vectors"):
            raise InputError(f"{self.config['model']} without item features cannot rank items that it was not trained with")
        made, id_field = [], self.config["ITEM_ID_FIELD"]
        for row in rows:
            token = str(row.get(id_field) or "").strip()
            if not token:
                raise InputError(f"a new item needs a token, in the column '{id_field}'")
            features, present = self._reader.of(row, token)
            batch = {m: values.unsqueeze(0).to(self.config["device"]) for m, values in features.items()}
            made.append((token, self.model.item_vectors(batch)[0].float().cpu(), features, present))
        self._take_features()
        for item in made:
            self.served.add(*item)

    @cached_property
    def queries(self) -> QueryEncoder:
        """The run's encoder.

        Raises:
            InputError: the run has none.
        """
        return QueryEncoder(self.config, self._features, self._training_part)

    @cached_property
    def _reader(self) -> NewItemFeatures:
        encoded = not set(self._features.modalities) <= set(self.config["feature_files"] or {})
        return NewItemFeatures(self.config, self._features, self.queries if encoded else None)

    @torch.no_grad()
    def _take_features(self) -> None:
        if self._features is not None and not self.served.modalities:
            for modality, rows in self._features.table().items():
                self.served.keep_features(modality, rows.float().cpu(), self._features.present(modality).cpu())
