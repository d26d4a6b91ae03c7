"""What a run says when it has ended: the results beside those of the most popular items, why test and validation differ, and the files."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.table import Table

from recbole_mm.evaluation.popularity import Popularity, evaluate_popularity, training_counts, unseen_share
from recbole_mm.terminal import WIDTH, labelled, say
from recbole_mm.training.cost import cost_lines
from recbole_mm.training.log import log_file

STRONGLY = 0.2
"""From which difference on, relative to the larger of both, the results of validation and test differ strongly."""
UNSEEN = 0.05
"""From which difference on the shares of unseen items explain that."""

Result = Mapping[str, float]


@dataclass(frozen=True)
class Results:
    """The results of a run.

    Attributes:
        valid, test: metric -> value; None where there is no such part.
        parts: the same for the test on parts of the items ("warm", "cold").
        popularity: "valid" and "test" -> the result of the most popular items; {} where items are not ranked.
    """

    valid: Result | None
    test: Result | None
    parts: Mapping[str, Result] = field(default_factory=dict)
    popularity: Mapping[str, Result] = field(default_factory=dict)

    def columns(self) -> dict[str, Result]:
        """Heading -> results."""
        found = {"valid": self.valid, "test": self.test, **{f"test, {part}": result for part, result in self.parts.items()}}
        found |= {f"Pop, {part}": result for part, result in self.popularity.items()}
        return {name: result for name, result in found.items() if result}

    def table(self, decimals: int) -> Table:
        """A row per metric."""
        table, columns = Table(box=box.SIMPLE_HEAD, pad_edge=False), self.columns()
        table.add_column("metric")
        for name in columns:
            table.add_column(name, justify="right", style="bold" if name == "test" else "dim" if name.startswith("Pop") else "")
        for metric in dict.fromkeys(metric for result in columns.values() for metric in result):
            table.add_row(metric, *(f"{result[metric]:.{decimals}f}" if metric in result else "" for result in columns.values()))
        return table


def popularity_of(config, trainer, train_data, valid_data, test_data, drawn_from: dict) -> dict[str, Result]:
    """The results of the most popular items on both parts; {} for RecBole's Pop itself, or where items are not ranked.

    Args:
        drawn_from: the state of the random generators before the test.
    """
    if issubclass(config.model_class, Popularity.__base__):
        return {}
    floor = Popularity(config, train_data._dataset)
    parts = {"valid": (valid_data, None), "test": (test_data, drawn_from)}
    found = {name: evaluate_popularity(trainer, floor, data, state) for name, (data, state) in parts.items()}
    return {name: result for name, result in found.items() if result}


def difference(config, results: Results, train_data, valid_data, test_data) -> str | None:
    """Why the results of validation and test differ, in one sentence; None where they do not differ strongly."""
    metric = str(config["valid_metric"]).lower()
    if not results.valid or not results.test or not _differ(results.valid, results.test, metric):
        return None
    counts = training_counts(train_data._dataset)
    shares = [unseen_share(data._dataset, counts) for data in (valid_data, test_data)]
    start = f"{metric} is {results.valid[metric]:.2f} in validation and {results.test[metric]:.2f} in the test"
    if abs(shares[0] - shares[1]) >= UNSEEN:
        return f"{start}: {shares[1]:.0%} of the test's interactions are with items unseen in training ({shares[0]:.0%} in validation)"
    pops = [results.popularity.get(part, {}).get(metric) for part in ("valid", "test")]
    if None not in pops and _differ(*results.popularity.values(), metric):
        return f"{start}, and Pop differs as well ({pops[0]:.2f}, {pops[1]:.2f}): the two parts are not equally hard"
    n = len(test_data._dataset.inter_feat[test_data._dataset.uid_field].unique())
    return f"{start}, which the data do not explain: chance ({n:,} users in the test), or an epoch that fits the validation part alone"


def tell_results(config, results: Results, loaders: tuple, cost: dict | None, files: Mapping[str, str]) -> None:
    """Says how the run has ended: the table, why its columns differ, what it cost (see ``CostAccount.report``) and where its files lie.

    Args:
        loaders: the training, validation and test loader.
    """
    say(results.table(config["metric_decimal_place"] or 4), result=True)
    reason = difference(config, results, *loaders)
    for line in textwrap.wrap(reason or "", WIDTH - 2):
        say(f"  {line}")
    for place, line in enumerate(cost_lines(cost) if cost else ()):
        say(labelled("" if place else "cost", line))
    for name, path in files.items():
        say(labelled(name, path))


def files_of(trainer) -> dict[str, str]:
    """What a run has written: "checkpoint", "log" and "tensorboard" -> the path."""
    found = {"checkpoint": trainer.saved_model_file, "log": log_file(), "tensorboard": getattr(trainer.tensorboard, "log_dir", None)}
    return {name: str(path) for name, path in found.items() if path and Path(path).exists()}


def _differ(one: Result, other: Result, metric: str) -> bool:
    a, b = one.get(metric, 0), other.get(metric, 0)
    return abs(a - b) > STRONGLY * max(abs(a), abs(b))
