"""The end of a run: its model on the test part, what the screen says of it, and its record."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from logging import getLogger

from recbole.utils import get_environment

from recbole_mm.evaluation.per_user import PerUser, kept_per_user
from recbole_mm.evaluation.protocol import evaluate_parts
from recbole_mm.parallel.randomness import random_state
from recbole_mm.training.record import write_record
from recbole_mm.training.results import Results, files_of, popularity_of, tell_results


@dataclass(frozen=True)
class Tested:
    """What the test of a run has found.

    Attributes:
        test: metric -> value; None without a test part.
        parts: the same on the "warm" and on the "cold" items alone.
        per_user: how each user fared.
        drawn_from: the state of the random generators before the test.
    """

    test: Mapping[str, float] | None
    parts: Mapping[str, Mapping[str, float]]
    per_user: PerUser
    drawn_from: dict

    def results(self) -> dict[str, object]:
        """The entries of what ``run`` returns."""
        return {"test_result": self.test, **{f"test_result_{part}": found for part, found in self.parts.items()}}


def measure_test(config, trainer, train_data, test_data, load_best: bool, show_progress: bool = False) -> Tested:
    """Tests a trainer's model.

    Args:
        load_best: whether it is the one of the trainer's checkpoint, or the model as it is.
    """
    drawn_from = random_state()
    with kept_per_user(trainer) as per_user:
        test = trainer.evaluate(test_data, load_best_model=load_best, show_progress=show_progress)
    parts = evaluate_parts(config, trainer, train_data, test_data)
    return Tested(floats(test), {part: floats(found) for part, found in parts.items()}, per_user, drawn_from)


def tell_and_record(config, trainer, loaders: tuple, result: Mapping[str, object], tested: Tested, started: datetime) -> dict[str, object]:
    """Says how a run has ended, and writes its record.

    Args:
        loaders: of training, validation and test.
        result: what ``run`` returns, as far as it is known.

    Returns:
        ``popularity`` and ``files``, the rest of it.
    """
    popularity = popularity_of(config, trainer, *loaders, tested.drawn_from)
    results = Results(result["best_valid_result"], tested.test, tested.parts, popularity)
    getLogger().info("The running environment of this training is as follows:\n" + get_environment(config).draw())
    found = {"popularity": dict(popularity), "files": files_of(trainer)}
    found["files"] |= write_record(config, trainer.model, loaders, {**result, **found}, tested.per_user, started)
    tell_results(config, results, loaders, result.get("cost"), found["files"])
    return found


def floats(result: Mapping[str, float] | None) -> OrderedDict[str, float] | None:
    """The metrics as Python's floats. RecBole's are numpy's, which print as ``np.float64(0.5)`` under numpy 2."""
    return None if result is None else OrderedDict((metric, float(value)) for metric, value in result.items())
