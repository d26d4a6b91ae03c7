"""The search of a cell's hyper-parameters, by the validation part alone. Every trial is a line of ``trials.jsonl`` in the cell's folder."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from recbole_mm.checkpoint import plain
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError, MissingPackage
from recbole_mm.quick_start import objective_function
from recbole_mm.results.compare.spaces import Space
from recbole_mm.terminal import labelled, say

TRIALS = "trials.jsonl"


def searched(cell, folder: Path) -> dict[str, object]:
    """The settings in the space of a cell that have the best ``valid_metric``. Trials of a search that was interrupted are not run again.

    Raises:
        InputError: there is no validation part, or a trial cannot run.
    """
    before, best = _read(folder / TRIALS), None
    study = _Study(cell.space, cell.seed)
    for number, point in enumerate(study.points(), 1):
        trial = before.get(_name(point))
        if trial is None:
            trial = before[_name(point)] = _run(cell, point)
            text = "".join(f"{json.dumps(one)}\n" for one in before.values())
            write_whole(folder / TRIALS, lambda file, text=text: file.write_text(text, encoding="utf-8"))
        study.learn(trial["score"] if trial["bigger"] else -trial["score"])
        say(labelled(f"trial {number}", f"{_name(point)}: {trial['score']:.4f} in validation"))
        if best is None or (trial["score"] > best["score"] if trial["bigger"] else trial["score"] < best["score"]):
            best = trial
    return best["point"]


class _Study:
    """The points to try: all of a small space, or those that Optuna's TPE proposes from the results before. The same results make it
    propose the same points again."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self._trial, self._study = space, None, None
        if not space.whole:
            try:
                import optuna
            except ModuleNotFoundError as error:
                raise MissingPackage("a search of a part of a space needs the package optuna: pip install 'recbole-mm[compare]'") from error
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))

    def points(self) -> Iterator[dict[str, object]]:
        if self._study is None:
            yield from self.space.points()
            return
        for _ in range(self.space.trials):
            self._trial = self._study.ask()
            yield self.space.suggest(self._trial)

    def learn(self, score: float) -> None:
        """Of the last point, the larger the better."""
        if self._study is not None:
            self._study.tell(self._trial, score)


def _run(cell, point: dict[str, object]) -> dict[str, object]:
    fixed = {"model": cell.model, "dataset": cell.dataset, "seed": cell.seed, "show_progress": False}
    started = time.perf_counter()
    result = objective_function({**cell.settings, **point, **fixed}, saved=False, tested=False)
    if not result["best_valid_result"]:
        raise InputError(f"{cell.model}: the split has no validation part, by which hyper-parameters are searched")
    return plain({
        "point": point, "bigger": result["valid_score_bigger"], "score": result["best_valid_score"],
        "valid": result["best_valid_result"], "seconds": round(time.perf_counter() - started, 1),
    })  # fmt: skip


def _read(file: Path) -> dict[str, dict]:
    """The trials that have ended, by point."""
    trials = map(json.loads, file.read_text(encoding="utf-8").splitlines() if file.exists() else ())
    return {_name(trial["point"]): trial for trial in trials}


def _name(point: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in plain(point).items())
