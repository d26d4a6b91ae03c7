"""The correction of what all users and items share: weights that have learned from the forgotten are trained until they know no more of
them than a model that has never seen them."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from logging import getLogger

from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import get_trainer, init_seed
from torch import Tensor, nn

from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.config.registry import is_ours
from recbole_mm.errors import InputError
from recbole_mm.terminal import Bar
from recbole_mm.training.build import build_trainer
from recbole_mm.training.optimiser import decay_weights
from recbole_mm.unlearning.frozen_rows import FrozenRows
from recbole_mm.unlearning.kept import KeptRun, forget_what_was_made
from recbole_mm.unlearning.knowledge import Knowledge, Known
from recbole_mm.unlearning.request import Forgotten
from recbole_mm.unlearning.reverse_loss import ReverseLoss

LOW, MIDDLE, HIGH = 0.03, 0.15, 0.5
"""Weights of the reverse loss: the middle one is tried, then a lower one if it harms those who stay, or a higher one if it is too weak."""
KEPT, HARMED, HARM = 0.98, 0.96, 3.0
"""The share of the validation result that a harmless correction keeps; the share at which one is stopped, to recover in the steps on what
stays alone; and what a lost share beyond that counts, where an excess that is left counts 1."""
FURTHER, SLACK = 0.25, 0.02
"""By which share of the excess of before a correction goes beyond none, since some comes back in the steps on what stays alone; and the
excess that may be left in the end."""
CHECKS, RATE = 8, 0.5
"""How often per epoch it is asked what the model knows, and the share of the run's learning rates that a correction starts from."""
EPOCHS, STEPS, SHARE = 3, 150, 0.25
"""How many epochs of what stays a correction may take, or steps on small data, and which share of the run's own steps at most."""
FEWEST_STEPS = 10
"""Between two looks at what the model knows."""
logger = getLogger(__name__)


@dataclass(frozen=True)
class Correction:
    """What a correction has come to.

    Attributes:
        weight: of the reverse loss; None where no correction was called for.
        steps: of the optimiser.
        seconds: of all weights that were tried, with all checks.
        valid: the validation score of those who stay afterwards, by the metric that chose the run's epoch.
        known: what the model knows of the forgotten afterwards.
    """

    weight: float | None
    steps: int
    seconds: float
    valid: float
    known: Known


class Corrector:
    """Trains the model of a run over what stays until it knows no more of the forgotten than a model that has never seen them.

    A step is one of the run's own, the model's loss on a batch of what stays, plus a weight times the ``ReverseLoss``. The rows of the
    forgotten stay as they are meanwhile, or they alone would learn. Once ``Knowledge`` finds no excess, or those who stay are harmed, half
    as many steps follow on what stays alone, while the rate falls to 0. If that leaves an excess or harm, another weight is tried, and the
    better one is taken; validation decides.

    Models over histories (SASRec, MultiVAE), which have no rows of users, are trained on what stays alone.

    Args:
        run: over what stays, with the weights of the checkpoint. Its model is corrected in place.
        forgotten: of that run.
        knowledge: of the two.

    Raises:
        InputError: the model is trained otherwise than by its loss on one batch after the other.
    """

    def __init__(self, run: KeptRun, forgotten: Forgotten, knowledge: Knowledge) -> None:
        self.run, self.model, self.knowledge = run, run.model, knowledge
        config = run.config
        if not is_ours(config.model_class) and get_trainer(config["MODEL_TYPE"], config["model"])._train_epoch is not Trainer._train_epoch:
            raise InputError(f"{config['model']} is trained in steps of its own kind")
        self._frozen = FrozenRows(run, forgotten)
        self._start = _copied(self.model)
        with no_tensorboard():
            self.trainer = build_trainer(config, self.model)
        self.trainer.eval_collector.data_collect(run.train_data)
        self._rates = [group.get("peak_lr", group["lr"]) for group in self.trainer.optimizer.param_groups]
        self._reversed = None if knowledge.reads_histories else ReverseLoss(run, forgotten)

    def correct(self, show_progress: bool = False) -> Correction:
        """Corrects the model; where nothing is to be corrected, it stays as it is.

        Raises:
            InputError: see ``Knowledge.of``.
        """
        started, before, known = time.monotonic(), self._valid(), self._known()
        if known.excess <= 0:
            return Correction(None, 0, time.monotonic() - started, before, known)
        tried: list[tuple[float, Correction, dict[str, Tensor]]] = []
        weight = MIDDLE if self._reversed else 0.0
        while True:
            steps = self._train(weight, -FURTHER * known.excess, show_progress)
            found = Correction(weight, steps, 0.0, self._valid(), self._known())
            logger.info(f"unlearning, weight {weight}: {steps} steps, validation {found.valid:.4f} (before {before:.4f}), {found.known}")
            left = max(found.known.excess - SLACK, 0)
            harm = max((KEPT - 1) * abs(before) - self._sign * (found.valid - before), 0) / abs(before or 1)
            tried.append((left + HARM * harm, found, _copied(self.model)))
            if weight != MIDDLE or not left and not harm:
                break
            weight = LOW if harm else HIGH
        _, best, state = min(tried, key=lambda one: one[0])
        self._use(state)
        return replace(best, seconds=time.monotonic() - started)

    @property
    def _sign(self) -> int:
        return 1 if self.run.config["valid_metric_bigger"] else -1

    def _valid(self) -> float:
        result = self.trainer.evaluate(self.run.valid_data, load_best_model=False)
        return float(result[str(self.run.config["valid_metric"]).lower()])

    def _known(self) -> Known:
        return self.knowledge.of(self.model.eval())

    def _use(self, state: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict(state)
        forget_what_was_made(self.model)
        self._refresh()

    def _refresh(self) -> None:
        if self._reversed is not None:
            self._reversed.refresh()

    def _train(self, weight: float, excess: float, show_progress: bool) -> int:
        """Trains from the start, until no more than an excess is left or those who stay are harmed. Returns the number of steps."""
        self._use(self._start)
        self.trainer.optimizer.state.clear()
        init_seed(self.run.config["seed"], self.run.config["reproducibility"])
        self.run.train_data.generator.manual_seed(self.run.config["seed"])
        per_epoch, batches = len(self.run.train_data), self._batches()
        check, steps, ended = max(FEWEST_STEPS, per_epoch // CHECKS), 0, False
        harmed = HARMED * self.knowledge.of_the_others(self.model.eval())
        own_steps = (self.run.checkpoint["epoch"] + 1) * per_epoch
        most = max(check, min(max(STEPS, EPOCHS * per_epoch), int(SHARE * own_steps)))
        with Bar(desc="Unlearning", total=most, disable=not show_progress) as bar:
            while steps < most and not ended:
                self._step(next(batches), weight, RATE * min(1.0, (steps + 1) / check))
                steps += 1
                bar.update()
                if steps % check == 0:
                    ended = self._known().excess <= excess or self.knowledge.of_the_others(self.model) < harmed
                    self._refresh()
            rest = max(FEWEST_STEPS, steps // 2)
            for place in range(rest):
                self._step(next(batches), 0.0, RATE * (1 + math.cos(math.pi * (place + 1) / rest)) / 2)
        return steps + rest

    def _batches(self) -> Iterator[Interaction]:
        step = 0
        for epoch in count():
            if is_ours(self.run.config.model_class):
                self.model.start_epoch(epoch)
            for batch in self.run.train_data:
                if is_ours(self.run.config.model_class):
                    self.trainer._start_step(step)
                yield batch.to(self.model.device)
                step += 1

    def _step(self, batch: Interaction, weight: float, rate: float) -> None:
        self.model.train()
        optimizer = self.trainer.optimizer
        for group, full in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"] = full * rate
        optimizer.zero_grad()
        losses = self.model.calculate_loss(batch)
        loss = sum(losses) if isinstance(losses, tuple) else losses
        if weight:
            loss = loss + weight * self._reversed()
        loss.backward()
        if self.trainer.clip_grad_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), **self.trainer.clip_grad_norm)
        decay_weights(optimizer)
        optimizer.step()
        self._frozen.put_back()


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
