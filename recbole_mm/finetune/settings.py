"""FinetuneSettings: what a configuration says of fine-tuning an encoder before features are extracted."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.tuning.parameter_groups import auto_learning_rate
from recbole_mm.encoder.tuning.tunings import Tuning


@dataclass(frozen=True)
class FinetuneSettings:
    """How an encoder is fine-tuned. The configuration keys say what each setting means (properties/overall.yaml).

    Attributes:
        learning_rate: None for ``auto``, until ``for_encoder`` puts a number there.
        weights: ``{objective: weight}``, none of them 0.
        tuning: which part of the encoder trains.
        asked_for: the objectives that the user named; the others come from the default.
        chunk_size: see ``EncodedItems``.
        show_progress: shows progress bars.
        stored: the name in the store of the tuned encoder that a checkpoint was trained over. It is taken if it is there, whatever the
            data are now.
    """

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float | None
    warmup_steps: int
    weight_decay: float
    layer_decay: float
    weights: Mapping[str, float]
    category_field: str | None
    valid_ratio: float
    stopping_step: int
    precision: str
    tuning: Tuning
    asked_for: frozenset[str] = frozenset()
    chunk_size: int | None = None
    show_progress: bool = False
    stored: str | None = None

    @classmethod
    def from_config(cls, config) -> "FinetuneSettings":
        """The settings of a MultiModalConfig; weights of 0 are left out."""
        rate, chunk_size = config["finetune_learning_rate"], config["encoder_chunk_size"]
        weights = {name: float(weight) for name, weight in sorted((config["finetune_weights"] or {}).items()) if weight}
        return cls(
            seed=config["seed"],
            epochs=config["finetune_epochs"],
            batch_size=config["finetune_batch_size"],
            learning_rate=None if rate == "auto" else float(rate),
            warmup_steps=config["finetune_warmup_steps"],
            weight_decay=float(config["encoder_weight_decay"]),
            layer_decay=float(config["layer_decay"]),
            weights=weights,
            category_field=config["category_field"] if {"clce", "supcon"} & set(weights) else None,
            valid_ratio=float(config["finetune_valid_ratio"]),
            stopping_step=config["finetune_stopping_step"],
            precision=config["encoder_precision"],
            tuning=Tuning.from_config(config),
            asked_for=frozenset(config.external_config_dict.get("finetune_weights") or ()),
            chunk_size=None if chunk_size == "auto" else chunk_size,
            show_progress=bool(config["show_progress"]),
            stored=config["tuned_encoder"],
        )

    def for_encoder(self, encoder: ItemEncoder) -> "FinetuneSettings":
        """The same settings with the learning rate that ``auto`` means for this encoder."""
        rate = auto_learning_rate(encoder, self.tuning.name) if self.learning_rate is None else self.learning_rate
        return replace(self, learning_rate=rate)

    def only(self, objectives: Iterable[str]) -> "FinetuneSettings":
        """The same settings without the weights of other objectives."""
        return replace(self, weights={name: self.weights[name] for name in objectives})

    def identity(self) -> dict[str, object]:
        """The settings that decide the tuned weights, as JSON-able values: they name the weights in the store."""
        sizes = asdict(self.tuning)
        others = ("asked_for", "chunk_size", "show_progress", "stored")
        decisive = {name: value for name, value in asdict(self).items() if name not in others}
        return {**decisive, "tuning": self.tuning.name, "tuning_options": sizes}
