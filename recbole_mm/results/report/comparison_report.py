"""The report of a comparison."""

from collections.abc import Sequence
from logging import getLogger
from pathlib import Path

import pandas as pd

from recbole_mm.errors import InputError
from recbole_mm.results.compare.board import COSTS, FLOOR
from recbole_mm.results.records import Record
from recbole_mm.results.report import figures
from recbole_mm.results.report.comparison import Comparison, Entry, read_comparison
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.picture_sections import picture_sections
from recbole_mm.results.report.pictures import Pictures
from recbole_mm.results.report.sections import Block, Report, Section, Tile
from recbole_mm.results.report.tables import Cell, Table, p_text, slice_name
from recbole_mm.results.statistics import bootstrap_interval, mean_over_seeds

logger = getLogger(__name__)
IN_FIGURE = 4
"""How many rows the figure of slices has at most."""


def comparison_report(folder: Path, show_progress: bool = False) -> Report:
    """Makes the report of a comparison's folder.

    Raises:
        InputError: it is no such folder.
    """
    found = read_comparison(folder)
    sections, pictures = [_leaderboard(found), _intervals(found), _cost(found), _slices(found)], None
    pair = _best_two(found)
    runs = _loaded([record for _, record in pair], show_progress)
    if runs and all(len(run.users) for run in runs):
        pictures = Pictures(runs[0].recommender.catalogue)
        sections += picture_sections(runs, [entry.name for entry, _ in pair], pictures)
    shown = {"pictures": pictures.uris, "shape": pictures.shape} if pictures else {}
    title = f"Comparison on {', '.join(_data_sets(found)) or folder.name}"
    return Report("Report of a comparison", title, _lead(found), _about(found), _tiles(found), sections, **shown)


def _loaded(records: Sequence[Record], show_progress: bool) -> list[LoadedRun]:
    """The runs; [], and a line in the log, where one does not fit the data set that is there now."""
    try:
        return [LoadedRun.load(record.checkpoint, show_progress) for record in records]
    except InputError as error:
        logger.warning(f"the report has no pictures of what is recommended: {error}")
        return []


def _data_sets(found: Comparison) -> list[str]:
    return list(dict.fromkeys(record.dataset for entry in found.entries for record in entry.records))


def _value(entry: Entry, name: str) -> float | None:
    value = entry.numbers.get(name, "")
    return None if value == "" else float(value)


def _is_floor(entry: Entry) -> bool:
    return entry.numbers.get("model") == FLOOR


def _best_two(found: Comparison) -> list[tuple[Entry, Record]]:
    """The best entry, and the best of the others that was run on the same split, each with a record whose checkpoint is there; [] where
    there are none."""
    there = [(entry, record) for entry in found.entries for record in entry.records if record.checkpoint.is_file()]
    if not there:
        return []
    best, first = there[0]
    others = [(entry, record) for entry, record in there if entry is not best and record.fingerprint == first.fingerprint]
    same_seed = [(entry, record) for entry, record in others if record.seed == first.seed]
    return [there[0], *(same_seed or others)[:1]]


def _lead(found: Comparison) -> str:
    families: dict[str, list[Entry]] = {}
    for entry in found.entries:
        families.setdefault(str(entry.numbers.get("dataset", "")), []).append(entry)
    return "; ".join(_first(found, entries, dataset if len(families) > 1 else "") for dataset, entries in families.items()) + "."


def _first(found: Comparison, entries: list[Entry], dataset: str) -> str:
    best, value = entries[0], _value(entries[0], found.metric)
    said = f"{f'on {dataset}, ' if dataset else ''}{best.name} is first"
    close = [entry.name for entry in entries[1:] if entry.numbers.get("not worse than the best") == "True"]
    said += "" if value is None else f", with {found.metric} {value:.3f} in the test"
    if close:
        said += f" (not significantly worse: {', '.join(close[:3])}{f' and {len(close) - 3} more' if len(close) > 3 else ''})"
    return said


def _about(found: Comparison) -> str:
    seeds = sorted({record.seed for entry in found.entries for record in entry.records})
    return f"seeds {', '.join(map(str, seeds))}; rows differ in {', '.join(found.columns)}"


def _tiles(found: Comparison) -> list[Tile]:
    runs = [record for entry in found.entries for record in entry.records]
    best, floor = found.entries[0], next((entry for entry in found.entries if _is_floor(entry)), None)
    tiles = []
    if _value(best, found.metric) is not None:
        tiles.append(Tile(f"{_value(best, found.metric):.3f}", f"best {found.metric}", best.name))
    if floor is not None and _value(floor, found.metric) is not None:
        tiles.append(Tile(f"{_value(floor, found.metric):.3f}", "most popular items", "the floor"))
    return [*tiles, Tile(f"{sum(not _is_floor(entry) for entry in found.entries)}", "compared"), Tile(f"{len(runs)}", "runs"),
            Tile(f"{sum(record.seconds for record in runs) / 60:,.0f} min", "of computing")]  # fmt: skip


def _leaderboard(found: Comparison) -> Section:
    at = found.metric.partition("@")[2]
    shown = [name for name in found.metrics if name.partition(" ")[0].partition("@")[2] == at]
    heads = ["", "seeds", *shown, "difference", "p (t)", "p (Wilcoxon)", "seconds", *COSTS.values()]
    rows = []
    for entry in found.entries:
        cells = [Cell(entry.name), Cell("" if _is_floor(entry) else str(entry.numbers["seeds"]))]
        for name in shown:
            value, deviation = _value(entry, name), _value(entry, f"{name} sd")
            strong = name == found.metric and entry.numbers.get("best") == "True"
            cells.append(Cell("" if value is None else f"{value:.4f}", f"± {deviation:.3f}" if deviation is not None else "", strong,
                              name == found.metric and entry.numbers.get("not worse than the best") == "True"))  # fmt: skip
        rows.append([*cells, *_against(entry), *(_number(entry, name) for name in ("seconds", *COSTS))])
    how = (
        "A row for all seeds of a cell: the mean, and the standard deviation over the seeds. The best is bold, and underlined is what is "
        "not significantly worse than it. The difference is to the reference, with its 95 % interval; p is paired over the users and "
        "corrected by Holm."
    )
    return Section("leaderboard", "Leaderboard", how, [Block("table", Table(heads, rows))])


def _against(entry: Entry) -> list[Cell]:
    difference, low, high = (_value(entry, name) for name in ("difference", "low", "high"))
    if difference is None:
        return [Cell("reference" if entry.numbers.get("reference") == "True" else ""), Cell(""), Cell("")]
    p = [_value(entry, name) for name in ("p t", "p wilcoxon")]
    return [Cell(f"{difference:+.4f}", f"{low:+.3f} to {high:+.3f}"), *(Cell("" if value is None else p_text(value)) for value in p)]


def _number(entry: Entry, name: str) -> Cell:
    value = _value(entry, name)
    return Cell("" if value is None else f"{value:,.0f}")


def _intervals(found: Comparison) -> Section:
    rows = []
    for entry in found.entries:
        value, low, high = _value(entry, found.metric), None, None
        having = [record for record in entry.records if record.users_file.is_file()]
        if having and found.metric in having[0].users():
            low, high = bootstrap_interval(mean_over_seeds(having, [found.metric])[found.metric].to_numpy())
        if value is not None:
            text = f"{entry.name}: {value:.4f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
            rows.append({"name": entry.name, "group": found.metric, "value": value, "low": low, "high": high, "text": text})
    table = pd.DataFrame(rows).astype({"low": float, "high": float}) if rows else None
    how = (
        f"Each point is the mean of {found.metric} over the seeds, and its line the 95 % interval over the users, whose values are means "
        "over the seeds. Where two lines overlap the difference may still be certain, since the same users are compared: see the p-values."
    )
    blocks = [] if table is None else [Block("figure", figures.dots(table, found.metric), f"{found.metric} in the test")]
    return Section("intervals", "With intervals", how, blocks)


def _cost(found: Comparison) -> Section:
    known = [entry for entry in found.entries if _value(entry, "seconds") and _value(entry, found.metric) is not None]
    how = "Quality against the time of a run, on a logarithmic axis: what is further up is better, what is further left is cheaper."
    if len(known) < 2:
        return Section("cost", "Cost against quality", how, [])
    figure = figures.scatter([entry.name for entry in known], [_value(entry, "seconds") for entry in known],
                             [_value(entry, found.metric) for entry in known], "seconds per run", found.metric)  # fmt: skip
    return Section("cost", "Cost against quality", how, [Block("figure", figure, f"{found.metric} against seconds")])


def _slices(found: Comparison) -> Section:
    how = (
        "Which model is good where? Users are sliced by how many training interactions they have, test items by how popular they are in "
        "training, and by what is known of them. Bold is the best of a column."
    )
    rows = found.slices
    if not len(rows):
        return Section("slices", "Slices", how, [])
    sliced = rows.groupby("by")["slice"].transform("nunique") > 1
    rows = rows[sliced | (rows["by"] == "all")]
    rows = rows.assign(column=[slice_name(by, name) for by, name in zip(rows["by"], rows["slice"], strict=True)])
    wide = rows.pivot_table(index="name", columns="column", values=found.metric, sort=False)
    heads = ["", *wide.columns]
    best = wide.max()
    body = [[Cell(str(name)), *(_sliced(value, best[column]) for column, value in row.items())] for name, row in wide.iterrows()]
    chosen = rows[rows["name"].isin(list(dict.fromkeys(rows["name"]))[:IN_FIGURE])]
    names, values = chosen["column"], chosen[found.metric]
    texts = [f"{name}, {column}: {value:.4f}" for name, column, value in zip(chosen["name"], names, values, strict=True)]
    plotted = pd.DataFrame({"name": names, "group": chosen["name"], "value": values, "text": texts}).assign(
        low=float("nan"), high=float("nan")
    )
    figure = figures.dots(plotted, found.metric)
    n = min(IN_FIGURE, rows["name"].nunique())
    return Section(
        "slices", "Slices", how, [Block("figure", figure, f"{found.metric} of the best {n}"), Block("table", Table(heads, body))]
    )


def _sliced(value: float, best: float) -> Cell:
    return Cell("" if value != value else f"{value:.4f}", strong=value == best)
