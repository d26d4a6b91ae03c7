"""DistilSettings: what a configuration says of distilling an encoder."""

from dataclasses import dataclass, replace

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.tuning.parameter_groups import AUTO_LEARNING_RATE
from recbole_mm.errors import InputError
from recbole_mm.finetune.settings import LoopSettings

PRETRAINED_RATE = 3e-4


@dataclass(frozen=True, kw_only=True)
class DistilSettings(LoopSettings):
    """How a student learns from its teacher. All of it trains, without dropout, which would be noise on rows that are known exactly.

    Attributes:
        prune_by: what says which blocks go where a student is pruned. A student's own weights tell what that was.
    """

    prefix = "distil"
    activity = "distilling"
    dropout = False
    indecisive = (*LoopSettings.indecisive, "prune_by")

    prune_by: str = "ablation"

    @classmethod
    def from_config(cls, config) -> "DistilSettings":
        """The settings of a MultiModalConfig.

        Raises:
            InputError: ``encoder_tuning`` asks for a part of the student alone.
        """
        if config["encoder_tuning"] != "full":
            raise InputError(f"encoder_tuning: {config['encoder_tuning']} trains a part of an encoder, and a student trains as a whole; "
                             "leave it out")  # fmt: skip
        return replace(super().from_config(config), prune_by=config["distil_prune_by"])

    def auto_learning_rate(self, encoder: ItemEncoder) -> float:
        """A teacher's rows say more of every item than the objectives of fine-tuning do, and bear larger steps."""
        return AUTO_LEARNING_RATE["scratch"] if encoder.from_scratch else PRETRAINED_RATE
