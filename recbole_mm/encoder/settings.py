"""EncoderSettings: what a configuration says of its encoder."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from recbole_mm.config.modalities import ModalitySources
from recbole_mm.encoder.tuning.tunings import Tuning

OPTIONS = {
    "encoder_image_size": "image_size",
    "encoder_max_patches": "max_patches",
    "encoder_tokenizer": "tokenizer",
    "encoder_prompt": "prompt",
    "trust_remote_code": "trust_remote_code",
}
"""Configuration key -> option of ``create_encoder``, which is only given where the key has a value."""


@dataclass(frozen=True)
class EncoderSettings:
    """The encoder of a configuration, and how it is used. The configuration keys say what each setting means (properties/overall.yaml).

    Attributes:
        name: ``backend:name[@tag-or-path]``; None where every modality comes from a file.
        modalities: what it reads: see ``ModalitySources.encoded``.
        training: ``pretrained``, ``finetuned`` or ``end2end``.
        trains: whether it trains with the recommender.
        tuning: which part of it trains.
        options: keyword arguments of ``create_encoder``.
        row_dim: see ``cut_rows``; None for whole rows.
        chunk_size: None for ``auto``.
        sharded: whether each of several processes holds a share of it.
        show_progress: shows progress bars over work on the whole catalogue.
    """

    name: str | None
    modalities: tuple[str, ...] | None
    seed: int
    device: torch.device
    training: str
    trains: bool
    tuning: Tuning
    options: Mapping[str, object]
    row_dim: int | None
    gradient_checkpointing: bool
    compile: bool
    precision: str
    chunk_size: int | None
    feature_dtype: str
    cache_hidden_states: bool
    image_augmentation: str
    token_dropout: float
    sharded: bool
    show_progress: bool

    @classmethod
    def from_config(cls, config: Mapping, processes: int = 1) -> "EncoderSettings":
        """The settings of a checked configuration.

        Args:
            processes: how many processes train together.
        """
        sources, chunk_size = ModalitySources.from_config(config), config["encoder_chunk_size"]
        return cls(
            name=config["encoder"],
            modalities=sources.encoded,
            seed=config["seed"],
            device=config["device"],
            training=config["encoder_training"],
            trains=sources.encoder_trains,
            tuning=Tuning.from_config(config),
            options={option: config[key] for key, option in OPTIONS.items() if config[key]},
            row_dim=config["encoder_dim"],
            gradient_checkpointing=bool(config["gradient_checkpointing"]),
            compile=bool(config["encoder_compile"]),
            precision=config["encoder_precision"],
            chunk_size=None if chunk_size == "auto" else chunk_size,
            feature_dtype=config["feature_dtype"],
            cache_hidden_states=bool(config["cache_hidden_states"]),
            image_augmentation=config["image_augmentation"],
            token_dropout=config["token_dropout"],
            sharded=config["strategy"] == "fsdp" and sources.encoder_trains and processes > 1,
            show_progress=bool(config["show_progress"]),
        )

    @property
    def needed(self) -> bool:
        """Whether any modality comes from the encoder."""
        return self.modalities != ()

    @property
    def finetuned(self) -> bool:
        """Whether it is fine-tuned to the items before the recommender trains."""
        return self.needed and self.training == "finetuned"
