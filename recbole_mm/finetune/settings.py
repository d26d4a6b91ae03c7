"""What a configuration says of training an encoder by itself: LoopSettings, and FinetuneSettings for fine-tuning before extraction."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Self

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.tuning.parameter_groups import auto_learning_rate
from recbole_mm.encoder.tuning.tunings import Tuning


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How an encoder is trained without a recommender. The configuration keys say what each setting means (properties/overall.yaml).

    Attributes:
        prefix: what the names of its keys begin with.
        activity: what messages call it.
        dropout: whether the encoder's own dropout is on while it trains.
        learning_rate: None for ``auto``, until ``for_encoder`` puts a number there.
        weights: ``{objective: weight}``, none of them 0.
        tuning: which part of the encoder trains.
        asked_for: the objectives that the user named; the others come from the default.
        chunk_size: see ``EncodedItems``.
        show_progress: shows progress bars.
    """

    prefix: ClassVar[str]
    activity: ClassVar[str]
    dropout: ClassVar[bool] = True
    indecisive: ClassVar[tuple[str, ...]] = ("asked_for", "chunk_size", "show_progress")
    """The fields that do not decide the tuned weights."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float | None
    warmup_steps: int
    weight_decay: float
    layer_decay: float
    weights: Mapping[str, float]
    valid_ratio: float
    stopping_step: int
    precision: str
    tuning: Tuning
    asked_for: frozenset[str] = frozenset()
    chunk_size: int | None = None
    show_progress: bool = False

    @classmethod
    def from_config(cls, config) -> Self:
        """The settings of a MultiModalConfig; weights of 0 are left out."""
        own = {name: config[f"{cls.prefix}_{name}"] for name in ("epochs", "batch_size", "warmup_steps", "stopping_step")}
        rate, chunk_size = config[f"{cls.prefix}_learning_rate"], config["encoder_chunk_size"]
        weights = config[f"{cls.prefix}_weights"] or {}
        return cls(
            seed=config["seed"],
            learning_rate=None if rate == "auto" else float(rate),
            weight_decay=float(config["encoder_weight_decay"]),
            layer_decay=float(config["layer_decay"]),
            weights={name: float(weight) for name, weight in sorted(weights.items()) if weight},
            valid_ratio=float(config[f"{cls.prefix}_valid_ratio"]),
            precision=config["encoder_precision"],
            tuning=Tuning.from_config(config),
            asked_for=frozenset(config.external_config_dict.get(f"{cls.prefix}_weights") or ()),
            chunk_size=None if chunk_size == "auto" else chunk_size,
            show_progress=bool(config["show_progress"]),
            **own,
        )

    def for_encoder(self, encoder: ItemEncoder) -> Self:
        """The same settings with the learning rate that ``auto`` means for this encoder."""
        return self if self.learning_rate is not None else replace(self, learning_rate=self.auto_learning_rate(encoder))

    def auto_learning_rate(self, encoder: ItemEncoder) -> float:
        return auto_learning_rate(encoder, self.tuning.name)

    def only(self, objectives: Iterable[str]) -> Self:
        """The same settings without the weights of other objectives."""
        return replace(self, weights={name: self.weights[name] for name in objectives})

    def identity(self) -> dict[str, object]:
        """The settings that decide the tuned weights, as JSON-able values: they name the weights in the store."""
        decisive = {name: value for name, value in asdict(self).items() if name not in self.indecisive}
        return {**decisive, "tuning": self.tuning.name, "tuning_options": asdict(self.tuning)}


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(LoopSettings):
    """How an encoder is fine-tuned before features are extracted.

    Attributes:
        category_field: the column of the items' categories, where an objective reads it.
        stored: the name in the store of the tuned encoder that a checkpoint was trained over. It is taken if it is there, whatever the
            data are now.
    """

    prefix = "finetune"
    activity = "fine-tuning"
    indecisive = (*LoopSettings.indecisive, "stored")

    category_field: str | None = None
    stored: str | None = None

    @classmethod
    def from_config(cls, config) -> "FinetuneSettings":
        settings = super().from_config(config)
        field = config["category_field"] if {"clce", "supcon"} & set(settings.weights) else None
        return replace(settings, category_field=field, stored=config["tuned_encoder"])
