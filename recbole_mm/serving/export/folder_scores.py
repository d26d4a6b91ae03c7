"""Scores by what an exported folder holds of a model."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from recbole_mm.serving.export.folder_model import FolderModel
from recbole_mm.serving.export.layout import VECTORS
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.model_scores import ModelScores
from recbole_mm.serving.scores import Scores
from recbole_mm.serving.similarities import ItemSimilarities


class FolderScores(Scores):
    """The scores of an exported model: products of its vectors, sums of its items' similarities, or what the model itself says.

    Args:
        folder: the exported one.
        manifest: what the folder says of itself.
        model: of the folder.
    """

    def __init__(
        self, folder: Path, manifest: Mapping[str, object], n_items: int, histories: Histories, similarities: ItemSimilarities | None,
        model: FolderModel,
    ) -> None:  # fmt: skip
        super().__init__(manifest["model"], n_items, histories, similarities)
        self.folder, self._manifest, self._model = folder, manifest, model

    @property
    def reads_histories(self) -> bool:
        return self._manifest["reads_histories"]

    @property
    def has_repeat_bias(self) -> bool:
        return self._manifest.get("repeat_bias", False)

    @property
    def are_products(self) -> bool:
        return (self.folder / VECTORS).is_file()

    def of_users(self, users: Tensor) -> Tensor:
        if self.similarities is not None:
            return self.similarities.of_users(users)
        if self.has_repeat_bias or not self.has_vectors():
            return self._network.of_users(users)
        vectors, items = self.vectors()
        return vectors[users] @ items.T

    def _find_vectors(self) -> tuple[Tensor, Tensor] | None:
        if not (self.folder / VECTORS).is_file():
            return None
        tables = load_file(self.folder / VECTORS)
        return tables["users"], tables["items"]

    def user_vectors(self, histories: Sequence[Tensor], items: Tensor, times: Sequence[Tensor] | None = None) -> Tensor:
        scores = self._network if self.reads_histories and self.similarities is None else super()
        return scores.user_vectors(histories, items, times)

    def _read(self, histories: Sequence[Tensor], times: Sequence[Tensor] | None) -> Tensor:
        return self._network.of_histories(histories, times)

    @cached_property
    def _network(self) -> ModelScores:
        return ModelScores(*self._model.loaded, self.histories)
