"""Which modalities come from feature files, and which from an encoder that reads the items' pictures and texts."""

from collections.abc import Mapping
from dataclasses import dataclass

READABLE = ("image", "text", "joint")
"""All modalities that an encoder can read."""
PAIR = READABLE[:2]
CROSS = "cross"
"""What the tokens of a picture and its text say of each other (``fusion: cross``)."""


@dataclass(frozen=True)
class ModalitySources:
    """Where the modalities in use come from.

    Attributes:
        in_use: the modalities that were asked for, in their order; None for all there are.
        files: ``{modality: path}`` of the modalities that ``feature_files`` brings, even where an encoder could read them.
        encoded: the modalities that an encoder reads; None for all that the encoder and the items both have, () for no encoder.
        encoder_trains: whether the encoder trains with the recommender. At a learning rate of 0 it does not: it is as good as pretrained.
    """

    in_use: tuple[str, ...] | None
    files: Mapping[str, str]
    encoded: tuple[str, ...] | None
    encoder_trains: bool

    @classmethod
    def from_config(cls, config: Mapping) -> "ModalitySources":
        files, wanted = config["feature_files"] or {}, config["modalities"]
        encoded = (() if files else None) if wanted is None else tuple(m for m in dict.fromkeys(wanted) if m not in files)
        return cls(
            in_use=None if wanted is None else tuple(wanted),
            files={m: files[m] for m in (files if wanted is None else wanted) if m in files},
            encoded=encoded,
            encoder_trains=config["encoder_training"] == "end2end" and config["encoder_learning_rate"] != 0 and encoded != (),
        )
