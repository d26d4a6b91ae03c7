"""The run's encoder over what somebody searches for, and over new items: texts and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from recbole_mm.data.image import BrokenImage, load_image
from recbole_mm.data.text import join_fields
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.cross.encoder import CrossEncoder
from recbole_mm.encoder.patches import stack_pictures
from recbole_mm.encoder.tuning.side_encoder import SideEncoder
from recbole_mm.encoder.tuning.side_network import SideNetwork
from recbole_mm.errors import InputError
from recbole_mm.feature.build import frozen_encoder
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.feature.settings import FeatureSettings
from recbole_mm.items.fill_stores import supported_precision
from recbole_mm.items.inputs import PARTS


class QueryEncoder:
    """Encodes queries as the items of a run are encoded.

    Args:
        encoder: the run's.
        modalities: of the items' features.
        config: of the run, which says where the encoder is to run, and in which precision.
    """

    def __init__(self, encoder: ItemEncoder | SideEncoder | CrossEncoder, modalities: Sequence[str], config) -> None:
        self.device, self.in_use = config["device"], tuple(modalities)
        self.encoder = encoder.to(self.device).eval()
        self.bf16 = supported_precision(config["encoder_precision"], self.device) == "bf16"

    def modalities(self, kind: str) -> list[str]:
        """The modalities of items that a text or a picture (``kind``) can be compared with.

        Raises:
            InputError: there is none.
        """
        own = [m for m in (kind,) if m in self.in_use and m in self.encoder.modalities]
        others = [m for m in ("image", "text") if self.encoder.aligned and m != kind and m in self.in_use]
        if kind not in self.encoder.modalities or not own + others:
            raise InputError(f"this run cannot be searched by {kind}: its encoder reads {', '.join(self.encoder.modalities)}, and the "
                             f"modalities in use are {', '.join(self.in_use)}")  # fmt: skip
        return own + others if kind == "text" or not own else own

    def encode(self, query: str | Path | Image.Image, kind: str) -> Tensor:
        """The row (d,) of a text, or of a picture that is given itself or by its file.

        Raises:
            InputError: the picture cannot be read.
        """
        if kind == "text":
            return self.rows({"text": [join_fields([str(query)])]}, [kind])[kind][0]
        try:
            return self.rows({"image": [query if isinstance(query, Image.Image) else load_image(Path(query))]}, [kind])[kind][0]
        except BrokenImage as error:
            raise InputError(f"{query}: the picture cannot be read ({error})") from error

    @torch.no_grad()
    def rows(self, parts: Mapping[str, Sequence[str | Image.Image]], modalities: Sequence[str]) -> dict[str, Tensor]:
        """The rows {modality: (n, d)} of n items from their pictures (``image``) and their clean texts (``text``), or from one of the two,
        in some of the modalities that can be read of these."""
        read = {
            "image": lambda pictures: stack_pictures([self.encoder.preprocess_image(picture) for picture in pictures]),
            "text": lambda texts: self.encoder.tokenize(list(texts)),
        }
        ready = {part: read[part](parts[part]).to(self.device) for part in sorted({part for m in modalities for part in PARTS[m]})}
        inputs = {m: tuple(ready[part] for part in PARTS[m]) for m in modalities}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            rows = self.encoder({m: values if len(values) > 1 else values[0] for m, values in inputs.items()})
        return {m: row.float().cpu() for m, row in rows.items()}


def run_queries(config, features: ItemFeatures | None, training_part) -> QueryEncoder:
    """The encoder that made the features of a run, as it is at the end of the run.

    Raises:
        InputError: there is none.
    """
    check_encodes(config, features is not None)
    settings, encoder = FeatureSettings.from_config(config), features.encoder
    if isinstance(encoder, SideNetwork):
        encoder = SideEncoder(build_encoder(settings.encoder).to(config["device"]), encoder)
    encoder = encoder or frozen_encoder(settings, training_part)[0]
    return QueryEncoder(encoder if features.cross is None else CrossEncoder(encoder, features.cross), features.modalities, config)


def check_encodes(config, has_features: bool) -> None:
    """Raises InputError: the run has no encoder: its items have no features, or these come from files; or they are components."""
    settings = FeatureSettings.from_config(config) if has_features else None
    if settings and settings.rank and not settings.encoder.trains:
        raise InputError(f"feature_rank {settings.rank}: the items' features are components of their own, which queries do not have; train "
                         "without feature_rank")  # fmt: skip
    if settings is None or not settings.encoder.needed:
        raise InputError("this run has no encoder to read a query with: its items have no features, or these come from files")
