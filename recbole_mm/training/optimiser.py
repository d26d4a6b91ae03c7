"""The optimiser of a run: learning rates, weight decay and schedules of their own for the recommender and the encoder."""

import math

import torch
from torch.optim import Optimizer

from recbole_mm.encoder.tuning.parameter_groups import auto_learning_rate, parameter_groups, schedule_factor
from recbole_mm.model.feature_model import FeatureModel

FUSED = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def role_groups(config, model: FeatureModel) -> list[dict]:
    """Sorts a model's trainable parameters into groups for an optimiser.

    Returns:
        The recommender's parameters as one group, then the encoder's groups (see ``parameter_groups``). Each group's ``role`` is
        "recommender" or "encoder". The encoder's weight decay is under ``decay``, where ``decay_weights`` finds it; its ``weight_decay``
        is 0, because optimisers differ in what they make of that.
    """
    members = {id(p) for p in model.encoder_parameters()}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in members]
    groups = [{"params": rest, "role": "recommender"}]
    if members:
        encoder, rate = model.item_features.encoder, config["encoder_learning_rate"]
        rate = auto_learning_rate(encoder, config["encoder_tuning"]) if rate == "auto" else rate
        for group in parameter_groups(encoder, rate, config["encoder_weight_decay"], config["layer_decay"]):
            groups.append({**group, "role": "encoder", "weight_decay": 0.0, "decay": group["weight_decay"]})
    return groups


@torch.no_grad()
def decay_weights(optimizer: Optimizer) -> None:
    """Shrinks the weights that are about to be updated by the factor 1 - ``lr`` * ``decay`` of their group (decoupled weight decay:
    Loshchilov & Hutter, arXiv 1711.05101). As Adam's ``weight_decay``, the decay would be part of a gradient that is then normalised, and
    the embeddings of words that occur in no text would shrink by ``lr`` in every step. Weights without a gradient are left alone. If a
    loss scaler then skips the step, the weights have shrunk all the same."""
    for group in optimizer.param_groups:
        weights = [p for p in group["params"] if p.grad is not None] if group.get("decay") else []
        if weights:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["decay"])


def fused(optimizer: Optimizer) -> Optimizer:
    """Adam or AdamW of RecBole's making with torch's fused implementation; any other optimiser as it is."""
    if type(optimizer) not in FUSED.values():
        return optimizer
    return type(optimizer)([{**group, "fused": True} for group in optimizer.param_groups])


def fused_optimizer(learner: str, groups: list[dict], learning_rate: float, weight_decay: float) -> Optimizer | None:
    """Adam or AdamW with torch's fused implementation, one kernel per group; None for any other learner."""
    kind = FUSED.get(learner.lower())
    return None if kind is None else kind(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)


class Schedule:
    """Sets the learning rate of every parameter group before each step of the optimiser.

    The recommender's rate is ``learning_rate`` times a factor that the model gives for the epoch. The encoder's rises linearly over the
    first ``encoder_warmup_steps`` steps in which the encoder trains. After that, both stay as they are
    (``learning_rate_schedule: constant``), or fall along half a cosine to 0 at the last step of the last epoch (``cosine``).

    Attributes:
        steps: role -> number of steps done. A checkpoint holds them.
    """

    def __init__(self, config, optimizer: Optimizer, epochs: int, frozen_epochs: int) -> None:
        self.kind, self.warmup, self.rate = config["learning_rate_schedule"], config["encoder_warmup_steps"], config["learning_rate"]
        self.every, self.optimizer = config["accumulation_steps"], optimizer
        self.epochs = {"recommender": epochs, "encoder": epochs - frozen_epochs}
        self.steps = dict.fromkeys(self.epochs, 0)

    def total(self, role: str, n_batches: int) -> int:
        """The number of steps that a role trains for in all its epochs of ``n_batches`` batches each."""
        return self.epochs[role] * math.ceil(n_batches / self.every)

    def step(self, n_batches: int, factor: float, encoder_trains: bool) -> None:
        """Sets the rates of the next step. To be called once before every step of the optimiser.

        Args:
            n_batches: the number of batches per epoch.
            factor: what the model multiplies the recommender's rate by in this epoch.
            encoder_trains: whether the encoder takes part in the step.
        """
        for role in ("recommender", "encoder") if encoder_trains else ("recommender",):
            self.steps[role] += 1
            warmup = self.warmup if role == "encoder" else 0
            scale = schedule_factor(self.steps[role], warmup, self.total(role, n_batches), self.kind)
            for group in self.optimizer.param_groups:
                if group["role"] == role:
                    group["lr"] = scale * (group["peak_lr"] if role == "encoder" else self.rate * factor)
