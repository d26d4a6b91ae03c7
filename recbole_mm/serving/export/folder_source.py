"""The items of an exported folder."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.errors import InputError
from recbole_mm.serving.export.layout import FEATURES
from recbole_mm.serving.queries import QueryEncoder


class FolderSource:
    """The features of the items of an exported folder (see ``ItemSource``).

    Args:
        folder: the exported one.
        manifest: what it says of itself.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, object]) -> None:
        self.folder, self.manifest, self.id_field = folder, manifest, manifest["id_field"]

    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        modalities = self.manifest["modalities"]
        tensors = load_file(self.folder / FEATURES) if modalities else {}
        return {m: (tensors[m], tensors[f"present_{m}"]) for m in modalities}

    def read(self, row: Mapping[str, object], token: str) -> tuple[dict[str, Tensor], dict[str, bool]]:
        raise InputError(f"{self.folder} was exported without what new items need")

    def vector(self, features: Mapping[str, Tensor]) -> Tensor:
        raise InputError(f"{self.folder} was exported without what new items need")

    @property
    def columns(self) -> ContentSettings:
        raise InputError(f"{self.folder} was exported without what new items need")

    @property
    def queries(self) -> QueryEncoder:
        raise InputError(f"{self.folder} was exported without its encoder")
