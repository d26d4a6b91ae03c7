"""Scores by what an exported folder holds of a model."""

from collections.abc import Sequence
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
        reads: whether the model reads histories itself.
        model: of the folder.
    """

    def __init__(
        self, folder: Path, name: str, n_items: int, histories: Histories, similarities: ItemSimilarities | None, reads: bool,
        model: FolderModel,
    ) -> None:  # fmt: skip
        super().__init__(name, n_items, histories, similarities)
        self.folder, self._reads, self._model = folder, reads, model

    @property
    def reads_histories(self) -> bool:
        return self._reads

    @property
    def are_products(self) -> bool:
        return (self.folder / VECTORS).is_file()

    def of_users(self, users: Tensor) -> Tensor:
        if self.similarities is not None:
            return self.similarities.of_users(users)
        if not self.has_vectors():
            return self._network.of_users(users)
        vectors, items = self.vectors()
        return vectors[users] @ items.T

    def _find_vectors(self) -> tuple[Tensor, Tensor] | None:
        if not (self.folder / VECTORS).is_file():
            return None
        tables = load_file(self.folder / VECTORS)
        return tables["users"], tables["items"]

    def _read(self, histories: Sequence[Tensor]) -> Tensor:
        return self._network.of_histories(histories)

    @cached_property
    def _network(self) -> ModelScores:
        return ModelScores(*self._model.loaded, self.histories)
