"""Which modalities come from feature files, and which come from an encoder that reads the items' pictures and texts."""

from collections.abc import Mapping

READABLE = ("image", "text", "joint")
"""The modalities that an encoder can read."""


def from_files(config: Mapping) -> dict[str, str]:
    """``{modality: path}`` for the modalities in use that are in ``feature_files``, even if an encoder could read them as well."""
    files, wanted = config["feature_files"] or {}, config["modalities"]
    return {m: files[m] for m in (files if wanted is None else wanted) if m in files}


def from_encoder(config: Mapping) -> list[str] | None:
    """The modalities in use that are not in ``feature_files``. None means all that the encoder and the items have, [] means no encoder."""
    files, wanted = config["feature_files"] or {}, config["modalities"]
    if wanted is None:
        return [] if files else None
    return [m for m in dict.fromkeys(wanted) if m not in files]


def trains_encoder(config: Mapping) -> bool:
    """Does an encoder train with the recommender? With a learning rate of 0 it does not, and is treated as pretrained."""
    return config["encoder_training"] == "end2end" and config["encoder_learning_rate"] != 0 and from_encoder(config) != []
