"""Features of products that a run did not have, from the values of their columns."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.config.modalities import CROSS
from recbole_mm.data.content_settings import ContentSettings
from recbole_mm.data.image import BrokenImage, load_image
from recbole_mm.data.text import join_fields
from recbole_mm.errors import InputError
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.feature.files import scaled
from recbole_mm.feature.missing import fill_mean
from recbole_mm.items.inputs import PARTS
from recbole_mm.serving.queries import QueryEncoder

PICTURES = (str, bytes, Path, Image.Image)


class NewItemFeatures:
    """Encodes new items as a run's own items are encoded.

    A row holds the columns of the ``.item`` file: the text fields, and the picture as a path, as bytes or as a PIL image. A modality that
    comes from a feature file is a column of its name, with the vector; in a column of that name which has a picture instead, the picture is
    for people to see. What a row lacks is missing, as in the data set.

    Args:
        config, features: of the run; ``features`` are the model's.
        queries: gives the run's encoder, for which it is asked where an item has a picture or a text that is to be encoded.
    """

    def __init__(self, config, features: ItemFeatures, queries: Callable[[], QueryEncoder]) -> None:
        self.features, self.queries, self.columns = features, queries, ContentSettings.from_config(config)
        self.scaling = config["feature_scaling"]
        self.vector_fields = frozenset(features.modalities) & frozenset(config["feature_files"] or {})

    @torch.no_grad()
    def of(self, rows: Sequence[Mapping[str, object]], tokens: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The features {modality: (n, d)} of n items, and which of them they have: {modality: bool (n,)}.

        Raises:
            InputError: a picture that cannot be read, a vector of another width, an item that has none of the modalities, or see
                ``queries``.
        """
        found = [self._vectors(row, token) for row, token in zip(rows, tokens, strict=True)]
        parts = [self._parts(row, token) for row, token in zip(rows, tokens, strict=True)]
        for together in {frozenset(own) for own in parts}:
            places = [place for place, own in enumerate(parts) if own.keys() == together]
            encoded = [m for m in self.features.modalities if m not in self.vector_fields and set(PARTS[m]) <= together]
            if encoded:
                made = self.queries().rows({part: [parts[place][part] for place in places] for part in together}, encoded)
                for at, place in enumerate(places):
                    found[place] |= {m: values[at] for m, values in made.items()}
        for own, token in zip(found, tokens, strict=True):
            if not own:
                raise InputError(f"item '{token}' has none of {', '.join(self.features.modalities)}: its columns may be {self._fields()}")
        present = {m: torch.tensor([m in own for own in found]) for m in self.features.modalities}
        missing = {m: self.missing(m) for m, here in present.items() if not here.all()}
        return {m: torch.stack([own[m] if m in own else missing[m] for own in found]) for m in present}, present

    def _fields(self) -> str:
        known = [field for fields in self.columns.columns().values() for field in fields]
        return ", ".join(known + sorted(self.vector_fields))

    def _vectors(self, row: Mapping[str, object], token: str) -> dict[str, Tensor]:
        """Those that the row brings for the modalities from feature files."""
        vectors = {m: self._vector(row.get(m), m, token) for m in self.vector_fields}
        return {m: vector for m, vector in vectors.items() if vector is not None}

    def _parts(self, row: Mapping[str, object], token: str) -> dict[str, str | Image.Image]:
        """The picture and the text of a row, as far as it has them."""
        values = {"image": self._picture(row, token), "text": self._text(row)}
        return {part: value for part, value in values.items() if value is not None}

    def _text(self, row: Mapping[str, object]) -> str | None:
        values = [row.get(field) for field in self.columns.text_fields]
        return join_fields(["" if is_empty(value) else str(value) for value in values]) or None

    def _picture(self, row: Mapping[str, object], token: str) -> Image.Image | None:
        value = picture_in(row, self.columns.image_field)
        if value is None or isinstance(value, Image.Image):
            return value
        try:
            return load_image(BytesIO(value) if isinstance(value, bytes) else Path(str(value)))
        except BrokenImage as error:
            raise InputError(f"item '{token}': its picture cannot be read ({error})") from error

    def _vector(self, value: object, modality: str, token: str) -> Tensor | None:
        if is_empty(value) or isinstance(value, PICTURES):
            return None
        try:
            vector = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            vector = np.zeros(0)
        width = self.features.dims[modality]
        if vector.shape != (width,) or not np.isfinite(vector).all():
            raise InputError(f"item '{token}': {modality} must be {width} finite numbers")
        return torch.from_numpy(scaled(vector[None], self.scaling)[0])

    def missing(self, modality: str) -> Tensor:
        """What stands in for a modality (d,) that a new item lacks."""
        if modality in self.features.missing_vectors:
            return self.features.missing_vectors[modality].detach().float().cpu()
        table = self.features.table()[modality].float().cpu()
        if self.features.missing == "zero" or modality == CROSS:
            return torch.zeros(table.shape[1])
        present = self.features.present(modality).cpu()
        return fill_mean(torch.cat([torch.zeros_like(table[:1]), table]), torch.cat([torch.tensor([False]), present]))[0]


def picture_in(row: Mapping[str, object], field: str | None) -> object | None:
    """The picture of a row, a path, bytes or a PIL image; None without one."""
    value = row.get(field) if field else None
    return value if isinstance(value, PICTURES) and not is_empty(value) else None


def is_empty(value: object) -> bool:
    """Whether a column says nothing."""
    return value is None or (isinstance(value, float) and np.isnan(value)) or (isinstance(value, str | bytes) and not value.strip())
