"""Makes the leaderboard of a comparison: means over the seeds of a cell, and tests against the best and against a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, stdev

import pandas as pd
from recbole.evaluator.register import smaller_metrics

from recbole_mm.results.compare.board import COSTS, FLOOR, MASKS, Leaderboard, Row
from recbole_mm.results.compare.cells import Cell
from recbole_mm.results.compare.grid import Grid, written
from recbole_mm.results.records import Record
from recbole_mm.results.statistics import Comparison, compare_values, holm, p_of_t

LEVEL = 0.05


def leaderboard(grid: Grid, records: Mapping[str, Record]) -> Leaderboard:
    """Makes the leaderboard of the cells that have ended.

    Args:
        records: the key of a cell -> its record.
    """
    rows, all_metrics, columns = [], {}, list(grid.columns)
    if any(record.is_sequential for record in records.values()):
        columns = list(dict.fromkeys([*columns, MASKS]))
    for cells in grid.groups().values():
        found = {cell.seed: records[cell.key] for cell in cells if cell.key in records}
        if found:
            results = [_results(record) for record in found.values()]
            all_metrics |= dict.fromkeys(name for result in results for name in result)
            labels = labels_of(cells[0], next(iter(found.values())), columns)
            rows.append(Row(labels, found, _over_seeds(results), cost=_cost(list(found.values()))))
    metrics = sorted(all_metrics, key=lambda name: (name != grid.metric, not name.startswith(f"{grid.metric} ")))
    reference = {key: written(value) for key, value in grid.reference.items()}
    ordered = [row for family in _families(rows) for row in _family(family, grid.metric, metrics, reference)]
    return Leaderboard(columns, grid.metric, metrics, ordered)


def labels_of(cell: Cell, record: Record, columns: Sequence[str]) -> dict[str, str]:
    """The columns that tell the runs of a cell apart from others, as they are shown. What is masked is said of models that have no such
    key, too."""
    return {column: written(record.masks_history if column == MASKS else cell.value(column)) for column in columns}


def _results(record: Record) -> dict[str, float]:
    """The test's metrics, and those of parts of the items, such as ``recall@20 cold``."""
    found = dict(record.test or {})
    for part, result in (record.parts or {}).items():
        found |= {f"{metric} {part}": value for metric, value in (result or {}).items()}
    return found


def _over_seeds(results: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float | None]]:
    found = {}
    for metric in dict.fromkeys(name for result in results for name in result):
        values = [result[metric] for result in results if metric in result]
        found[metric] = (mean(values), stdev(values) if len(values) > 1 else None)
    return found


def _cost(records: Sequence[Record]) -> dict[str, float | None]:
    costs = [{"seconds": record.seconds, **(record.cost or {})} for record in records]
    found = {}
    for name in ("seconds", *COSTS):
        values = [cost[name] for cost in costs if cost.get(name) is not None]
        found[name] = mean(values) if values else None
    return found


def _families(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that were tested on the same data and splits, as far as they have the same seeds, and with the same items masked."""
    families: list[tuple[dict[tuple[str, int], tuple[str, bool]], list[Row]]] = []
    for row in rows:
        splits = {(record.dataset, seed): (record.fingerprint, record.masks_history) for seed, record in row.records.items()}
        for known, members in families:
            if known.keys() & splits and all(known[key] == splits[key] for key in known.keys() & splits):
                known.update(splits)
                members.append(row)
                break
        else:
            families.append((splits, [row]))
    return [members for _, members in families]


def _family(rows: list[Row], metric: str, metrics: Sequence[str], reference: Mapping[str, str]) -> list[Row]:
    """The rows of a family, the best first, with the best ones marked and compared with the reference, and their floor."""
    ordered = sorted(rows, key=lambda row: row.metrics.get(metric, (float("-inf"),))[0], reverse=not _smaller(metric))
    values, best, close = [_users(row) for row in ordered], {}, {}
    for name in metrics:
        having = [place for place, row in enumerate(ordered) if name in row.metrics]
        if len(having) > 1:
            first = (min if _smaller(name) else max)(having, key=lambda place: ordered[place].metrics[name][0])
            best[name] = [place for place in having if ordered[place].metrics[name][0] == ordered[first].metrics[name][0]]
            close[name] = _not_worse(ordered, values, name, first)
    chosen = next((place for place, row in enumerate(ordered) if reference and reference.items() <= row.columns.items()), None)
    place = chosen if chosen is not None else 0
    against = _against(ordered, values, metric, place)
    marked = [
        replace(
            row,
            best=frozenset(name for name, places in best.items() if at in places),
            close=frozenset(name for name, places in close.items() if at in places),
            against=against.get(at),
            is_reference=at == place,
        )
        for at, row in enumerate(ordered)
    ]
    return [*marked, *_floor(ordered)]


def _users(row: Row) -> dict[int, pd.DataFrame]:
    """Seed -> the metrics per user of its run; {} where items are not ranked."""
    found = {}
    for seed, record in row.records.items():
        if record.users_file.is_file():
            table = record.users().set_index("user")
            found[seed] = table[[name for name in table if "@" in name]]
    return found


def _paired(one: Mapping[int, pd.DataFrame], other: Mapping[int, pd.DataFrame], metric: str) -> tuple | None:
    """The values (n,) of both for each user, as means over the seeds that both have; None where there are none."""
    seeds = [seed for seed in one if seed in other and metric in one[seed] and metric in other[seed]]
    if not seeds:
        return None
    means = [pd.concat([table[seed][[metric]] for seed in seeds]).groupby(level="user").mean()[metric] for table in (one, other)]
    return means[0].to_numpy(), means[1].reindex(means[0].index).to_numpy()


def _not_worse(rows: Sequence[Row], values: Sequence[Mapping], metric: str, first: int) -> list[int]:
    """The rows that the best one, the ``first``, is not significantly better than, by paired t-tests over the users after Holm's
    correction."""
    pairs = {place: _paired(values[place], values[first], metric) for place in range(len(rows)) if place != first}
    pairs = {place: pair for place, pair in pairs.items() if pair is not None}
    corrected = holm([p_of_t(one - other) for one, other in pairs.values()])
    return [place for place, p in zip(pairs, corrected, strict=True) if p >= LEVEL]


def _against(rows: Sequence[Row], values: Sequence[Mapping], metric: str, reference: int) -> dict[int, Comparison]:
    pairs = {place: _paired(values[place], values[reference], metric) for place in range(len(rows)) if place != reference}
    found = {place: compare_values(metric, *pair) for place, pair in pairs.items() if pair is not None}
    t, wilcoxon = (holm([getattr(comparison, name) for comparison in found.values()]) for name in ("p_t", "p_wilcoxon"))
    corrected = zip(found.items(), t, wilcoxon, strict=True)
    return {place: replace(comparison, p_t=float(p), p_wilcoxon=float(q)) for (place, comparison), p, q in corrected}


def _floor(rows: Sequence[Row]) -> list[Row]:
    """The row of the most popular items, which every run on the same split has beside its own results."""
    found = {seed: record for row in rows for seed, record in row.records.items() if record.popularity.get("test")}
    if not found or any(row.columns["model"] == "Pop" for row in rows):
        return []
    columns = {column: value if column == "dataset" else "" for column, value in rows[0].columns.items()} | {"model": FLOOR}
    return [Row(columns, {}, _over_seeds([record.popularity["test"] for record in found.values()]))]


def _smaller(metric: str) -> bool:
    return metric.partition("@")[0] in smaller_metrics
