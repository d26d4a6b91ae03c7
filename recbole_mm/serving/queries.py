"""The run's encoder over what somebody searches for: a text or a picture."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from recbole_mm.data.image import BrokenImage, load_image
from recbole_mm.data.text import join_fields
from recbole_mm.encoder import ItemEncoder
from recbole_mm.errors import InputError
from recbole_mm.feature.build import frozen_encoder
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.feature.settings import FeatureSettings


class QueryEncoder:
    """Encodes queries as the items of a run are encoded.

    Args:
        config, features: of the run; ``features`` are the model's.
        dataset: its training part.

    Raises:
        InputError: the run has no encoder: all its features come from files.
    """

    def __init__(self, config, features: ItemFeatures | None, dataset) -> None:
        settings = FeatureSettings.from_config(config) if features is not None else None
        if settings is None or not settings.encoder.needed:
            raise InputError("this run has no encoder to read a query with: its items have no features, or these come from files")
        self.features, self.device = features, config["device"]
        self.encoder: ItemEncoder = features.encoder or frozen_encoder(settings, dataset)[0].to(config["device"])
        self.encoder.eval()

    def modalities(self, kind: str) -> list[str]:
        """The modalities of items that a text or a picture (``kind``) can be compared with.

        Raises:
            InputError: there is none.
        """
        own = [m for m in (kind,) if m in self.features.modalities and m in self.encoder.modalities]
        others = [m for m in ("image", "text") if self.encoder.aligned and m != kind and m in self.features.modalities]
        if kind not in self.encoder.modalities or not own + others:
            raise InputError(f"this run cannot be searched by {kind}: its encoder reads {', '.join(self.encoder.modalities)}, and the "
                             f"modalities in use are {', '.join(self.features.modalities)}")  # fmt: skip
        return own + others if kind == "text" or not own else own

    def encode(self, query: str | Path | Image.Image, kind: str) -> Tensor:
        """The row (d,) of a text, or of a picture that is given itself or by its file.

        Raises:
            InputError: the picture cannot be read.
        """
        if kind == "text":
            return self.encode_item("text", [join_fields([str(query)])])
        try:
            return self.encode_item("image", [query if isinstance(query, Image.Image) else load_image(Path(query))])
        except BrokenImage as error:
            raise InputError(f"{query}: the picture cannot be read ({error})") from error

    @torch.no_grad()
    def encode_item(self, modality: str, parts: Sequence[str | Image.Image]) -> Tensor:
        """The row (d,) of an item in a modality, from its clean text, its picture, or both of them, picture first."""
        inputs = [
            self.encoder.tokenize([part]) if isinstance(part, str) else self.encoder.preprocess_image(part).unsqueeze(0) for part in parts
        ]
        on_device = tuple(values.to(self.device) for values in inputs)
        return self.encoder({modality: on_device if len(parts) > 1 else on_device[0]})[modality][0].float().cpu()
