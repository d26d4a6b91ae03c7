"""What is told of each epoch: one line on the screen, and the curves for TensorBoard."""

import re
import time
from collections.abc import Iterable, Mapping

import recbole.trainer.trainer as recboles
from recbole.utils import ModelType

from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import Bar, say
from recbole_mm.training.cost import CostAccount
from recbole_mm.training.health import alarms, health_values

ROOM = 60
"""How many columns of a line the losses of an epoch may take."""


class TellsEpochs:
    """A mixin that stands before a trainer of RecBole's, and tells of its epochs.

    Losses are named by the model's ``loss_names``, otherwise by number. A loss is given as the mean over the batches of the epoch.

    Attributes:
        account: a CostAccount of the run so far.
        health: what ``health_of`` found after the last validation; {} for RecBole's models.
        best_epoch: the epoch, counted from 1, with the best validation score so far; None before there is one.
    """

    account: CostAccount
    health: Mapping[str, object] = {}
    best_epoch: int | None = None
    _told: "EpochTable | None" = None
    _epoch, _seconds, _batches, _validates, _losses = 0, 0.0, 1, False, {}

    def fit(self, train_data, valid_data=None, verbose: bool = True, *args, **kwargs) -> tuple:
        self._batches, self._validates = len(train_data), bool(valid_data) and self.eval_step > 0
        self._told = EpochTable(self.epochs, self.valid_metric if self._validates else None) if verbose else None
        if verbose and 0 < self.start_epoch < self.epochs:
            say(f"goes on with epoch {self.start_epoch + 1} of {self.epochs}")
        found = super().fit(train_data, valid_data, verbose, *args, **kwargs)
        if verbose and self._told.widths and self._validates and self.cur_step > self.stopping_step:
            best = f"; epoch {self.best_epoch} was the best" if self.best_epoch else ""
            rounds = "epochs" if self.eval_step == 1 else f"validations (one every {self.eval_step} epochs)"
            say(f"no better for {self.cur_step} {rounds}: stopped{best}")
        self.tensorboard.flush()
        return found

    def pretrain(self, *args, **kwargs) -> tuple:
        """RecBole's first stage of two (S3Rec, RaCT), which has epochs of its own and no validation."""
        self._validates = False
        if self._told is not None:
            self._told = EpochTable(self.pretrain_epochs, None)
        return super().pretrain(*args, **kwargs)

    def measure_health(self) -> Mapping[str, object]:
        """What is worth watching of the model, see ``health_of``."""
        return {}

    def _generate_train_loss_output(self, epoch_idx: int, s_time: float, e_time: float, losses) -> str:
        self._epoch, self._seconds, self._losses = epoch_idx, e_time - s_time, self._named(losses)
        return super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)

    def _add_train_loss_to_tensorboard(self, epoch_idx: int, losses, tag: str = "loss") -> None:
        for name, value in self._losses.items():
            self.tensorboard.add_scalar(f"{tag}/{name}", value, epoch_idx)
        for role, rate in self._rates().items():
            self.tensorboard.add_scalar(f"learning_rate/{role}", rate, epoch_idx)
        if not self._validates or (epoch_idx + 1) % self.eval_step:
            self._tell(None, best=False)

    def _valid_epoch(self, valid_data, show_progress: bool = False) -> tuple:
        start = time.time()
        score, result = super()._valid_epoch(valid_data, show_progress=show_progress)
        best = score >= self.best_valid_score if self.valid_metric_bigger else score <= self.best_valid_score
        self.best_epoch = self._epoch + 1 if best else self.best_epoch
        self.health = self.measure_health()
        self._seconds += time.time() - start
        for name, value in result.items():
            self.tensorboard.add_scalar(f"valid/{name}", value, self._epoch)
        for name, value in health_values(self.health).items():
            self.tensorboard.add_scalar(f"health/{name}", value, self._epoch)
        self._tell(score, best)
        return score, result

    def _tell(self, score: float | None, best: bool) -> None:
        if self._told is not None:
            losses = {} if self.config["MODEL_TYPE"] == ModelType.TRADITIONAL else self._losses
            self._told.row(self._epoch + 1, losses, score, best, self._seconds, alarms(self.health))

    def _named(self, losses) -> dict[str, float]:
        """The mean losses by name, and their ``total``, which stands alone where the model does not split its loss."""
        parts = [part / self._batches for part in (losses if isinstance(losses, tuple) else (losses,))]
        names, whole = getattr(self.model, "loss_names", ()), {"total": sum(parts)}
        if len(parts) == 1:
            return whole
        return {names[place] if place < len(names) else str(place + 1): part for place, part in enumerate(parts)} | whole

    def _rates(self) -> dict[str, float]:
        """The learning rate of each role of parameters: the highest one of the role's groups."""
        rates: dict[str, float] = {}
        for group in self.optimizer.param_groups:
            role = group.get("role", "recommender")
            rates[role] = max(group["lr"], rates.get(role, 0.0))
        return rates


class TellsRecBolesEpochs(TellsEpochs):
    """The same before a trainer of one of RecBole's models, with an account of what they cost."""

    def __init__(self, config, model) -> None:
        super().__init__(config, model)
        self.account = CostAccount(None, Ranks.current())

    def _train_epoch(self, *args, **kwargs):
        with self.account.measure("training"):
            return super()._train_epoch(*args, **kwargs)

    def evaluate(self, *args, **kwargs) -> dict:
        with self.account.measure("evaluating"):
            return super().evaluate(*args, **kwargs)


class EpochTable:
    """A table on the screen that grows by a line per epoch. The log has each line with the names of its numbers.

    Args:
        epochs: how many epochs there are at most.
        metric: the metric that selects the epoch; None without validation.
    """

    def __init__(self, epochs: int, metric: str | None) -> None:
        self.epochs, self.metric, self.widths = epochs, metric, {}

    def row(self, epoch: int, losses: Mapping[str, float], score: float | None, best: bool, seconds: float, alarms: list[str]) -> None:
        """Adds an epoch.

        Args:
            epoch: its number, from 1.
            losses: by name; ``total`` is shown where there are no others, or too many of them.
            score: its validation score; None for an epoch that is not validated.
            best: whether that is the best one so far.
            alarms: what is wrong with the model, in a few words each.
        """
        numbered = f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"
        cells = {"": numbered, **{name: _number(value) for name, value in _shown(losses).items()}}
        if self.metric:
            cells[f"{self.metric}  "] = "" if score is None else f"{score:.4f} {'*' if best else ' '}"
        cells["time"] = _duration(seconds)
        if self.widths.keys() != cells.keys():  # NCL, for example, has more losses once it is warm
            self.widths = {head: max(len(head), len(cell), 7) for head, cell in cells.items()}
            say(self._line(cells) + ("  * best so far" if self.metric else ""), text="epochs (losses are means over the batches):")
        named = [f"loss/{name} {_number(value)}" for name, value in losses.items()]
        named += [] if score is None else [f"valid/{self.metric} {score:.4f}{' (the best so far)' if best else ''}"]
        log = f"epoch {epoch}/{self.epochs}: {', '.join([*named, _duration(seconds), *alarms])}"
        say("  ".join([self._line(cells.values()), *alarms]), text=log)

    def _line(self, cells: Iterable[str]) -> str:
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, self.widths.values(), strict=True))


def _shown(losses: Mapping[str, float]) -> dict[str, float]:
    """The losses that there is room for: heading -> value."""
    parts = {f"loss {name}" if name.isdigit() else name: value for name, value in losses.items() if name != "total"}
    if not parts or sum(len(name) + 2 for name in parts) > ROOM:
        return {"loss": losses["total"]} if losses else {}
    return parts


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 10000 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


class _RecBolesBar(Bar):
    """What RecBole's trainers take for ``tqdm``. They count epochs from 0, the screen counts from 1."""

    def __init__(self, iterable, desc: str = "", **options: object) -> None:
        super().__init__(iterable, re.sub(r"Train\s+(\d+)", lambda found: f"Epoch {int(found[1]) + 1}", desc), **options)


recboles.tqdm = _RecBolesBar
