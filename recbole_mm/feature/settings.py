"""FeatureSettings: what a configuration says of the features of its items."""

from collections.abc import Mapping
from dataclasses import dataclass

from recbole_mm.config.modalities import CROSS, ModalitySources
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.encoder.tuning.tunings import Full, tuning_of_key
from recbole_mm.finetune.settings import FinetuneSettings
from recbole_mm.parallel.ranks import Ranks


@dataclass(frozen=True)
class FeatureSettings:
    """Where the features of items come from.

    Attributes:
        modalities: those in use, in their order; None for all there are.
        files: ``{modality: path}`` of the modalities that come from feature files.
        feature_ids: what names the rows of feature files: see ``read_tables``.
        scaling: what becomes of the rows of feature files: see ``scaled``. None in runs of earlier versions, which did not centre features
            either.
        rank: how many principal components frozen features have at most; None for features as they are.
        missing: what stands in for a modality that an item lacks: see ``ItemFeatures``.
        encoder: the encoder that gives the other modalities.
        finetuning: how it is fine-tuned before, if it is.
        crossed: the width of the cross-attention between the tokens of pictures and texts; None without one.
        unused: settings that the user gave and that have no effect, each in words.
    """

    modalities: tuple[str, ...] | None
    files: Mapping[str, str]
    feature_ids: Mapping[str, str] | str | None
    scaling: str | None
    rank: int | None
    missing: str
    encoder: EncoderSettings
    finetuning: FinetuneSettings
    crossed: int | None
    unused: tuple[str, ...]

    @classmethod
    def from_config(cls, config) -> "FeatureSettings":
        """The settings of a MultiModalConfig, for as many processes as there are."""
        sources, encoder = ModalitySources.from_config(config), EncoderSettings.from_config(config, Ranks.current().world)
        return cls(
            modalities=sources.in_use,
            files=sources.files,
            feature_ids=config["feature_ids"],
            scaling=config["feature_scaling"],
            rank=config["feature_rank"],
            missing=config["missing"],
            encoder=encoder,
            finetuning=FinetuneSettings.from_config(config),
            crossed=config["embedding_size"] if config["fusion"] == CROSS else None,
            unused=tuple(_unused(config, encoder)),
        )


def _unused(config, encoder: EncoderSettings) -> list[str]:
    """Settings of training an encoder where none trains, and sizes that belong to another ``encoder_tuning``."""
    tuning, owners = encoder.tuning.name, tuning_of_key()
    sizes = [key for key in owners if key in config.given_keys]
    augmented = [key for key in ("image_augmentation", "token_dropout") if config[key] not in ("none", 0) and not encoder.trains]
    alone = [f"{key} {config[key]}, because no encoder trains with the recommender" for key in augmented]
    if encoder.trains or encoder.finetuned:
        others = [key for key in sizes if owners[key] != tuning]
        return [f"{key} {config[key]}, which belongs to encoder_tuning: {owners[key]}, not to {tuning}" for key in others] + alone
    set_keys = [] if isinstance(encoder.tuning, Full) else ["encoder_tuning"]
    set_keys += ["gradient_checkpointing"] if encoder.gradient_checkpointing else []
    return [f"{key} {config[key]}, because no encoder trains" for key in (*set_keys, *sizes)] + alone
