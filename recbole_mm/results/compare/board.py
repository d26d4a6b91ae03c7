"""What a leaderboard is: its rows, and the tables of numbers that it is written as."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from recbole_mm.results.records import Record
from recbole_mm.results.slices import slices
from recbole_mm.results.statistics import Comparison

FLOOR = "Pop (floor)"
MASKS = "mask_history"
"""The column that leaderboards with sequential models have whether or not it varies."""
COSTS = {"items_encoded": "items encoded", "peak_memory_mib": "peak MiB", "trainable_parameters": "parameters"}
"""The entries of a run's cost that have a column."""


@dataclass(frozen=True)
class Row:
    """A row of the leaderboard.

    Attributes:
        columns: the values of the columns, as they are shown.
        records: seed -> the record of the run.
        metrics: metric -> mean and standard deviation over the seeds, the latter None for one seed.
        best, close: the metrics in which no other row of the same data is better, and those in which the best one is not significantly
            better.
        against: the comparison with the reference, with p-values after Holm's correction; None for the reference itself.
        is_reference: whether others are compared with it.
        cost: means over the seeds: ``seconds``, and the ``COSTS``.
    """

    columns: Mapping[str, str]
    records: Mapping[int, Record]
    metrics: Mapping[str, tuple[float, float | None]]
    best: frozenset[str] = frozenset()
    close: frozenset[str] = frozenset()
    against: Comparison | None = None
    is_reference: bool = False
    cost: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaderboard:
    """All rows, those of the same data together and the best first; the floor of each data set ends its rows.

    Attributes:
        columns: the keys that tell the rows apart.
        metric: what it is about.
        metrics: all there are, that one first.
    """

    columns: list[str]
    metric: str
    metrics: list[str]
    rows: list[Row]

    def frame(self) -> pd.DataFrame:
        """The leaderboard as a table of numbers."""
        return pd.DataFrame([self._numbers(row) for row in self.rows])

    @cached_property
    def slices(self) -> pd.DataFrame:
        """The metric on slices of users and items (see ``results.slices``), as means over the seeds: a row per row and slice."""
        return pd.DataFrame([{**row.columns, **found} for row in self.rows for found in _slices_of(row, self.metric)])

    def _numbers(self, row: Row) -> dict[str, object]:
        found: dict[str, object] = {**row.columns, "seeds": len(row.records)}
        for metric in self.metrics:
            value, deviation = row.metrics.get(metric, (None, None))
            found |= {metric: value, f"{metric} sd": deviation}
        against = row.against
        low, high = against.interval if against else (None, None)
        found |= {"reference": row.is_reference, "difference": against and against.difference, "low": low, "high": high}
        found |= {"p t": against and against.p_t, "p wilcoxon": against and against.p_wilcoxon}
        found |= {"best": self.metric in row.best, "not worse than the best": self.metric in row.close | row.best}
        return found | {name: row.cost.get(name) for name in ("seconds", *COSTS)}


def _slices_of(row: Row, metric: str) -> list[dict[str, object]]:
    tables = [slices(record.users(), [metric]) for record in row.records.values() if record.users_file.is_file()]
    if not tables:
        return []
    found = pd.concat(tables)
    found["slice"] = found["slice"].str.partition(" (")[0]  # the bounds of groups are those of one split
    return found.groupby(["by", "slice"], sort=False).mean().reset_index().to_dict("records")
