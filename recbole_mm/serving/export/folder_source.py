"""The items of an exported folder."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.cross.encoder import CrossEncoder
from recbole_mm.encoder.saved import load_encoder
from recbole_mm.encoder.tuning.side_encoder import SideEncoder
from recbole_mm.errors import InputError
from recbole_mm.serving.export.folder_model import FolderModel
from recbole_mm.serving.export.layout import ENCODER
from recbole_mm.serving.export.model_folder import load_features, load_settings
from recbole_mm.serving.item_source import NO_NEW_ITEMS, ModelSource
from recbole_mm.serving.queries import QueryEncoder, check_encodes


class FolderSource:
    """The features of the items of an exported folder (see ``ItemSource``). Model and encoder are loaded when they are needed.

    Args:
        folder: the exported one.
        manifest: what it says of itself.
        model: of the folder.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, object], model: FolderModel) -> None:
        self.folder, self.manifest, self.id_field, self._model = folder, manifest, manifest["id_field"], model

    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        return load_features(self.folder, self.manifest["modalities"])

    def read(self, rows: Sequence[Mapping[str, object]], tokens: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self._source.read(rows, tokens)

    def vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        return self._source.vectors(features)

    @property
    def columns(self) -> ContentSettings:
        return self._source.columns

    @property
    def vector_fields(self) -> frozenset[str]:
        return self._source.vector_fields

    @cached_property
    def queries(self) -> QueryEncoder:
        config = load_settings(self.folder) if self.manifest["modalities"] else None
        check_encodes(config, config is not None)
        return QueryEncoder(self._encoder(), self.manifest["modalities"], config)

    @cached_property
    def _source(self) -> ModelSource:
        if not self.manifest["modalities"]:
            raise InputError(NO_NEW_ITEMS.format(self.manifest["model"]))
        config, model, _ = self._model.loaded
        return ModelSource(config, model, lambda: self.queries)

    def _encoder(self) -> ItemEncoder | SideEncoder | CrossEncoder:
        if not (self.folder / ENCODER).is_dir():
            raise InputError(f"{self.folder} was exported without its encoder, which reads pictures and texts: export the checkpoint again "
                             "with --with-encoder")  # fmt: skip
        return load_encoder(self.folder / ENCODER)
