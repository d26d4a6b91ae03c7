"""What a configuration says about the items' pictures and texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.config.modalities import ModalitySources


@dataclass(frozen=True)
class ContentSettings:
    """The settings of the items' pictures and texts.

    Attributes:
        image_field: the column of the ``.item`` file that holds each item's picture path; None for no pictures.
        text_fields: the columns whose texts are joined, in this order.
        given: which of the keys ``image_field`` and ``text_field`` the user has set. Those columns must exist; the default ones are used
            where they exist.
        modalities: what the encoder is to read; None for all that it can read, () where there is no encoder.
        image_dir: the folder of the pictures, below the data set's folder unless it is absolute.
        cache_dir: where packs of decoded pictures are kept; None for a folder that ``writable_cache`` finds.
        max_broken_images: the share of the named pictures that may be unreadable before a run stops.
        show_progress: whether long work shows a progress bar.
    """

    image_field: str | None
    text_fields: tuple[str, ...]
    given: frozenset[str]
    modalities: tuple[str, ...] | None
    image_dir: Path
    cache_dir: Path | None
    max_broken_images: float
    show_progress: bool

    @classmethod
    def from_config(cls, config) -> "ContentSettings":
        modalities = ModalitySources.from_config(config).encoded
        if modalities and config["encoder_training"] == "finetuned":
            modalities = None  # fine-tuning learns from pictures and texts, whichever of them are used afterwards
        return cls(
            image_field=config["image_field"] or None,
            text_fields=tuple(config["text_field"] or ()),
            given=frozenset({"image_field", "text_field"} & config.given_keys),
            modalities=modalities,
            image_dir=Path(config["image_dir"] or "images"),
            cache_dir=Path(config["cache_dir"]) if config["cache_dir"] else None,
            max_broken_images=config["max_broken_images"],
            show_progress=bool(config["show_progress"]),
        )

    def columns(self) -> dict[str, Sequence[str]]:
        """The columns that the encoder needs, by the key that names them."""
        image, text = (self.image_field,) if self.image_field else (), self.text_fields
        if self.modalities is None or "joint" in self.modalities:
            return {"image_field": image, "text_field": text}
        return {"image_field": image if "image" in self.modalities else (), "text_field": text if "text" in self.modalities else ()}
