"""Which modalities come from feature files, and which from an encoder that reads the items' pictures and texts."""

from collections.abc import Mapping

READABLE = ("image", "text", "joint")
"""What an encoder can read at all."""


def from_files(config: Mapping) -> dict[str, str]:
    """``{modality: path}`` of the modalities in use that ``feature_files`` brings, whatever an encoder could read."""
    files, wanted = config["feature_files"] or {}, config["modalities"]
    return {m: files[m] for m in (files if wanted is None else wanted) if m in files}


def from_encoder(config: Mapping) -> list[str] | None:
    """The modalities in use that ``feature_files`` does not bring; None for whatever encoder and items have, [] for no encoder."""
    files, wanted = config["feature_files"] or {}, config["modalities"]
    if wanted is None:
        return [] if files else None
    return [m for m in dict.fromkeys(wanted) if m not in files]


def trains_encoder(config: Mapping) -> bool:
    """Does an encoder train with the recommender? At a rate of 0 it does not, and is as good as pretrained."""
    return config["encoder_training"] == "end2end" and config["encoder_learning_rate"] != 0 and from_encoder(config) != []
