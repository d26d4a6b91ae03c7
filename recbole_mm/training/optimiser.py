"""The optimiser of a run: the recommender and the encoder at rates of their own, and the schedule of both."""

import math

import torch
from torch.optim import Optimizer

from recbole_mm.encoder.tuning.parameter_groups import auto_learning_rate, parameter_groups, schedule_factor
from recbole_mm.model.base import MultiModalRecommender

FUSED = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def role_groups(config, model: MultiModalRecommender) -> list[dict]:
    """The recommender's parameters as one group, then the encoder's (see ``parameter_groups``); ``role`` names each group's. The encoder's
    weight decay is ``decay``, for ``decay_weights``, whatever the learner makes of a ``weight_decay``."""
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
    """Takes ``lr`` times ``decay`` of themselves off the weights that are about to make a step (Loshchilov & Hutter, arXiv 1711.05101).
    As Adam's ``weight_decay``, decay would be part of a gradient that is then normalised: words that no text has would lose ``lr``.
    It also happens where a loss scaler then skips the step."""
    for group in optimizer.param_groups:
        weights = [p for p in group["params"] if p.grad is not None] if group.get("decay") else []
        if weights:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["decay"])


def fused_optimizer(learner: str, groups: list[dict], learning_rate: float, weight_decay: float) -> Optimizer | None:
    """Adam or AdamW whose step is one kernel a group; None for another learner."""
    kind = FUSED.get(learner.lower())
    return None if kind is None else kind(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)


class Schedule:
    """Sets the groups' rates before every step of an optimiser.

    The recommender's: ``learning_rate`` times the model's own factor of the epoch; the encoder's: linear warm-up over
    ``encoder_warmup_steps`` of its own steps. Both then stay, or fall by half a cosine to 0 at the last step of the last epoch
    (``learning_rate_schedule``).

    Attributes:
        steps: those done, by role; what a checkpoint holds.
    """

    def __init__(self, config, optimizer: Optimizer, epochs: int, frozen_epochs: int) -> None:
        self.kind, self.warmup, self.rate = config["learning_rate_schedule"], config["encoder_warmup_steps"], config["learning_rate"]
        self.every, self.optimizer = config["accumulation_steps"], optimizer
        self.epochs = {"recommender": epochs, "encoder": epochs - frozen_epochs}
        self.steps = dict.fromkeys(self.epochs, 0)

    def total(self, role: str, n_batches: int) -> int:
        """Steps of all epochs of ``n_batches``."""
        return self.epochs[role] * math.ceil(n_batches / self.every)

    def step(self, n_batches: int, factor: float, live: bool) -> None:
        """Before an optimiser's step, of an epoch of ``n_batches``; ``factor`` is the model's, ``live`` whether the encoder trains."""
        for role in ("recommender", "encoder") if live else ("recommender",):
            self.steps[role] += 1
            warmup = self.warmup if role == "encoder" else 0
            scale = schedule_factor(self.steps[role], warmup, self.total(role, n_batches), self.kind)
            for group in self.optimizer.param_groups:
                if group["role"] == role:
                    group["lr"] = scale * (group["peak_lr"] if role == "encoder" else self.rate * factor)
