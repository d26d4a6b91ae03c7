"""The loop that trains an encoder by itself, and resumes exactly wherever it is killed."""

import time
from logging import getLogger
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.checkpoint import load_checkpoint, save_checkpoint
from recbole_mm.encoder.tuning.parameter_groups import AUTO_LEARNING_RATE, parameter_groups, schedule_factor
from recbole_mm.errors import InputError
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.held_out import Validation
from recbole_mm.finetune.retrieval import score
from recbole_mm.finetune.settings import LoopSettings
from recbole_mm.finetune.units import Units, generator_for
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.terminal import Bar, say

MAX_NORM = 1.0
SAVE_SECONDS = 60.0
logger = getLogger(__name__)


class FinetuningLoop:
    """Fine-tunes ``items.encoder``, in place, on all units that an objective can use and that are not held out.

    The optimiser is AdamW with a linear warm-up and then half a cosine down to zero over ``epochs``; gradients are clipped at norm 1.
    Heads that start from random weights have the learning rate of random weights. After every epoch the encoder is measured on the
    held-out units (see ``Validation``); the weights of the best epoch are the result, or those of the last epoch if nothing is held out.
    All random numbers of a step come from the seed and the step alone, so training resumes exactly from a checkpoint (one per epoch and
    per minute), which holds no random state.

    Args:
        objectives: ``{name: Objective}``.
        held_out: the units that are held out.

    Attributes:
        history: one entry per epoch: ``losses`` (the mean of each objective) and ``retrieval``.
        best: the number of the epoch, from 1, whose weights are kept.
        seconds: spent so far, by all processes that worked on it one after the other.

    Raises:
        InputError: fewer than two units have what the objectives learn from.
    """

    def __init__(self, items: EncodedItems, units: Units, objectives: nn.ModuleDict, held_out: Validation, settings: LoopSettings) -> None:
        self.items, self.units, self.settings, self.encoder = items, units, settings, items.encoder
        self.objectives = objectives.to(items.device)
        useful = torch.stack([objective.useful for objective in objectives.values()]).any(0)
        self.training, self.held_out = (useful & held_out.split.trained).nonzero().squeeze(1), held_out
        if len(self.training) < 2:
            raise InputError(f"{settings.activity}: {len(self.training)} items have what {', '.join(objectives)} learns from")
        self.per_epoch = -(-len(self.training) // settings.batch_size)
        self.trained = {name: p for name, p in self.encoder.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(self._groups())
        self.step, self.best, self.seconds = 0, 0, 0.0
        self.history: list[dict] = []
        self._sums = dict.fromkeys(objectives, 0.0)
        self._best_state: dict[str, Tensor] = {}

    @property
    def steps(self) -> int:
        """The number of steps in all epochs."""
        return self.settings.epochs * self.per_epoch

    def retrieve(self) -> dict[str, float] | None:
        """How the encoder does on the held-out units under the present weights; None if nothing is held out."""
        return self.held_out.measure(self.items)

    def run(self, checkpoint: Path) -> None:
        """Trains to the end, from ``checkpoint`` if that file is there, and leaves the best weights in the encoder.

        Raises:
            InputError: the loss becomes NaN or infinite.
        """
        self._resume(checkpoint)
        if self.settings.warmup_steps >= self.steps:
            key = f"{self.settings.prefix}_warmup_steps"
            logger.warning(f"{key} {self.settings.warmup_steps} of {self.steps} steps: the rate never stays at its peak")
        started = saved = time.monotonic()
        spent = self.seconds
        shown = {"desc": self.settings.activity.capitalize(), "disable": not self.settings.show_progress}
        with Bar(total=self.steps, initial=self.step, **shown) as bar:
            while self.step < self.steps and not self._done():
                self._learn()
                bar.update()
                ended = self.step % self.per_epoch == 0
                if ended:
                    self._end_epoch()
                if ended or time.monotonic() - saved > SAVE_SECONDS:
                    self.seconds = spent + time.monotonic() - started
                    self._save(checkpoint)
                    saved = time.monotonic()
        self.seconds = spent + time.monotonic() - started
        self._put(self.trained, self._best_state)
        self.encoder.eval()

    def _groups(self) -> list[dict]:
        settings = self.settings
        groups = parameter_groups(self.encoder, settings.learning_rate, settings.weight_decay, settings.layer_decay)
        for objective in self.objectives.values():
            rate = AUTO_LEARNING_RATE["scratch"] if objective.drawn else settings.learning_rate
            params = list(objective.parameters())
            if params:
                groups.append({"params": params, "lr": rate, "weight_decay": 0.0, "peak_lr": rate})
        return groups

    def _learn(self) -> None:
        epoch, place = divmod(self.step, self.per_epoch)
        order = torch.randperm(len(self.training), generator=generator_for(self.settings.seed, "order", epoch))
        chosen = self.training[order.tensor_split(self.per_epoch)[place]]
        torch.manual_seed(generator_for(self.settings.seed, "dropout", self.step).initial_seed())
        batch = Batch(self.items, self.units, chosen, generator_for(self.settings.seed, "step", self.step))
        self.encoder.train(self.settings.dropout)
        with torch.autocast(self.items.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            losses = {name: objective(batch) for name, objective in self.objectives.items()}
        total = sum(self.settings.weights[name] * loss for name, loss in losses.items())
        if not bool(total.isfinite()):
            at, key = self.step + 1, f"{self.settings.prefix}_learning_rate"
            raise InputError(f"{self.settings.activity}: the loss of step {at} is {total.item()}; lower {key}")
        factor = schedule_factor(self.step + 1, self.settings.warmup_steps, self.steps, "cosine")
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], MAX_NORM)
        self.optimizer.step()
        for name, loss in losses.items():
            self._sums[name] += float(loss.detach())
        self.step += 1

    def _end_epoch(self) -> None:
        losses = {name: total / self.per_epoch for name, total in self._sums.items()}
        self.history.append({"losses": losses, "retrieval": self.retrieve()})
        self._sums = dict.fromkeys(self.objectives, 0.0)
        recalls = [entry["retrieval"] for entry in self.history]
        if recalls[-1] is None or all(score(r) < score(recalls[-1]) for r in recalls[:-1]):
            self.best, self._best_state = len(self.history), _copied(self.trained)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in {**losses, **(recalls[-1] or {})}.items())
        say(f"{self.settings.activity}, epoch {len(self.history)} of {self.settings.epochs}: {shown}")

    def _done(self) -> bool:
        return bool(len(self.held_out.units)) and len(self.history) - self.best > self.settings.stopping_step

    def _save(self, file: Path) -> None:
        state = {
            "config": {}, "state_dict": _copied(self.trained), "heads": self.objectives.state_dict(), "best": self.best,
            "optimizer": self.optimizer.state_dict(), "step": self.step, "history": self.history, "sums": self._sums,
            "best_state": self._best_state, "seconds": self.seconds,
        }  # fmt: skip
        save_checkpoint(state, file)

    def _resume(self, file: Path) -> None:
        if not file.is_file():
            return
        try:
            state = load_checkpoint(file)
        except InputError as error:
            logger.warning(f"{error}: {self.settings.activity} starts anew")
            return
        self._put(self.trained, state["state_dict"])
        self.objectives.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history, self.best, self.seconds = (state[name] for name in ("step", "history", "best", "seconds"))
        self._sums, self._best_state = state["sums"], state["best_state"]
        say(f"{self.settings.activity} goes on at step {self.step} of {self.steps}")

    @staticmethod
    @torch.no_grad()
    def _put(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _copied(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}
