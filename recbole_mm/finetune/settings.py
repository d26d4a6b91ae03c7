"""The settings of a fine-tuning, out of a configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.tuning.parameter_groups import auto_learning_rate
from recbole_mm.encoder.tuning.tunings import Tuning


@dataclass(frozen=True)
class Settings:
    """What decides a fine-tuning besides the encoder and the data; the keys of properties/overall.yaml say what each means.

    Attributes:
        weights: objective -> weight, none of them 0.
        tuning_options: the tuning's sizes, see ``Tuning``.
    """

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    layer_decay: float
    weights: Mapping[str, float]
    category_field: str | None
    valid_ratio: float
    stopping_step: int
    precision: str
    tuning: str
    tuning_options: Mapping[str, float]

    def only(self, objectives: Iterable[str]) -> "Settings":
        """Without the weights of other objectives."""
        return replace(self, weights={name: self.weights[name] for name in objectives})

    @classmethod
    def from_config(cls, config, encoder: ItemEncoder) -> "Settings":
        """``auto`` resolved for the encoder; weights of 0 left out."""
        tuning, rate = config["encoder_tuning"], config["finetune_learning_rate"]
        weights = {name: float(weight) for name, weight in sorted((config["finetune_weights"] or {}).items()) if weight}
        return cls(
            seed=config["seed"],
            epochs=config["finetune_epochs"],
            batch_size=config["finetune_batch_size"],
            learning_rate=auto_learning_rate(encoder, tuning) if rate == "auto" else float(rate),
            warmup_steps=config["finetune_warmup_steps"],
            weight_decay=float(config["encoder_weight_decay"]),
            layer_decay=float(config["layer_decay"]),
            weights=weights,
            category_field=config["category_field"] if "clce" in weights else None,
            valid_ratio=float(config["finetune_valid_ratio"]),
            stopping_step=config["finetune_stopping_step"],
            precision=config["encoder_precision"],
            tuning=tuning,
            tuning_options=asdict(Tuning.from_config(config)),
        )
