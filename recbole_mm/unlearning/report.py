"""What an unlearning has come to: what the model knew of the forgotten and knows now, how those who stay fare, and what it took."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recbole.utils import EvaluatorType
from rich import box
from rich.table import Table

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError
from recbole_mm.quick_start import config_of, data_of, load_state
from recbole_mm.terminal import labelled, say
from recbole_mm.training.build import build_model, build_trainer
from recbole_mm.training.record import finite
from recbole_mm.training.tested import floats
from recbole_mm.unlearning.correction import Correction, Corrector
from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.knowledge import Knowledge, Known
from recbole_mm.unlearning.request import Forgotten
from recbole_mm.unlearning.retrain import retrain

ENDING = ".unlearning.json"
"""What takes the place of ``.pth`` in the name of the file."""


@dataclass(frozen=True)
class Stage:
    """One of the models that are compared.

    Attributes:
        known: what it knows of the forgotten; the never-seen interactions of the membership test are those of the test part. None where
            that is not measured.
        others: the test results of those who stay; None without a test part.
        seconds: it took to make the model; None where that is not known.
    """

    known: Known | None
    others: Mapping[str, float] | None
    seconds: float | None


@dataclass
class Report:
    """What has come of an unlearning.

    Attributes:
        metric: the metric that is shown of those who stay.
        k: how long the rankings are in which the forgotten are looked for.
        stages: ``before``, ``after``, and ``retrained`` where a model was trained without the forgotten from its beginning.
        correction: None where there could be none.
        why: why nothing was corrected.
    """

    metric: str
    k: int | None
    stages: dict[str, Stage] = field(default_factory=dict)
    correction: Correction | None = None
    why: str | None = None

    def write(self, checkpoint_file: str) -> str:
        """Writes the report beside a checkpoint. Returns the name of the file."""
        file = Path(checkpoint_file).with_suffix("").with_name(Path(checkpoint_file).stem + ENDING)
        text = json.dumps(finite(asdict(self)), indent=1, default=float, allow_nan=False)
        write_whole(file, lambda new: new.write_text(text, encoding="utf-8"))
        return str(file)

    def tell(self) -> None:
        """Says it on the screen."""
        if self.why:
            say(labelled("weights", f"left as they are: {self.why}"))
        elif self.correction:
            say(labelled("weights", f"corrected in {self.correction.steps:,} steps"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for name in self.stages:
            table.add_column(name, justify="right", style="bold" if name == "after" else "")
        for name, values in self._rows().items():
            if any(values):
                table.add_row(name, *values)
        say(table, result=True)

    def _rows(self) -> dict[str, list[str]]:
        stages, known = self.stages.values(), [stage.known for stage in self.stages.values()]
        return {
            f"recall@{self.k} of the forgotten": [f"{one.recall:.4f}" if one else "" for one in known],
            "to be expected of a stranger": [f"{one.expected:.4f}" if one else "" for one in known],
            "membership test": [_number(one and one.told_apart) for one in known],
            "by chance": [_number(one and one.chance) for one in known],
            f"{self.metric} of the others": [f"{one.others[self.metric]:.4f}" if one.others else "" for one in stages],
            "seconds": [f"{one.seconds:,.1f}" if one.seconds is not None else "" for one in stages],
        }


class Witness:
    """Corrects the model of a run over what stays, and reports on it.

    Args:
        checkpoint_file: of the run as it was.
        run: over what stays.
        forgotten: of that run.
    """

    def __init__(self, checkpoint_file: str, run: KeptRun, forgotten: Forgotten, model_class: type | None = None) -> None:
        self.file, self.run, self.forgotten, self.model_class = checkpoint_file, run, forgotten, model_class
        ranks = run.config["eval_type"] == EvaluatorType.RANKING
        self.report = Report(str(run.config["valid_metric"]).lower(), max(run.config["topk"]) if ranks else None)
        self.knowledge = Knowledge(run, forgotten) if ranks and run.valid_data and run.test_data else None
        self._started = time.monotonic()

    def before(self) -> None:
        """Takes down what the model was that knew the forgotten."""
        checkpoint = load_checkpoint(self.file, pickled=True)
        config = config_of(checkpoint, self.model_class).changed(log_wandb=False)
        _, (train_data, *_) = data_of(config, checkpoint)
        model = build_model(config, train_data)
        load_state(config, model, checkpoint, self.file)
        with no_tensorboard():
            trainer = build_trainer(config, model)
        trainer.eval_collector.data_collect(train_data)
        others = floats(trainer.evaluate(self.run.test_data, load_best_model=False)) if self.run.test_data else None
        self.report.stages["before"] = Stage(self._known(model.eval()), others, _seconds(self.file))
        self._started = time.monotonic()

    def correct(self) -> Correction | None:
        """Corrects the run's model where that is possible."""
        if self.run.closed_form:
            return None
        if not self.knowledge:
            measured = self.knowledge is not None
            self.report.why = "no forgotten interaction can be looked for" if measured else "the run ranks no validation and test items"
            return None
        try:
            self.report.correction = Corrector(self.run, self.forgotten, self.knowledge).correct(bool(self.run.config["show_progress"]))
        except InputError as error:
            self.report.why = str(error)
            return None
        if not self.report.correction.steps:
            self.report.why = "the model knows no more of the forgotten than is to be expected of a stranger"
        return self.report.correction

    def after(self, result: Mapping[str, float] | None) -> None:
        """Takes down what has come of it: ``result`` is that of the test."""
        seconds = time.monotonic() - self._started
        known = None if self.run.closed_form else self._known(self.run.model.eval())
        self.report.stages["after"] = Stage(known, result, round(seconds, 2))

    def retrained(self) -> None:
        """Trains a model without the forgotten from its beginning, and takes it down."""
        found = retrain(self.run, show_progress=bool(self.run.config["show_progress"]))
        self.report.stages["retrained"] = Stage(self._known(found.run.model.eval()), found.test, round(found.seconds, 2))

    def _known(self, model) -> Known | None:
        if not self.knowledge:
            return None
        try:
            return self.knowledge.of(model, "test")
        except InputError:
            return None


def _number(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"


def _seconds(checkpoint_file: str) -> float | None:
    """How long the training of a run has taken, by its record."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        cost = json.loads(Path(checkpoint_file).with_suffix(".json").read_text(encoding="utf-8"))["cost"]
        return round(cost["seconds_training"] + cost["seconds_evaluating"], 2)
    return None
