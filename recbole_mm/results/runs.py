"""The command ``runs``: a table of the finished runs in a folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError, nearest
from recbole_mm.results.records import Record, find_records

NEWEST_FIRST = "when"
SMALLER_IS_BETTER = ("mae", "rmse", "logloss", "giniindex", "averagepopularity")


def runs(arguments: argparse.Namespace, _: list[str]) -> int:
    """Shows the records of a folder, or writes them into a CSV file."""
    found = [
        record for record in find_records(arguments.folder)
        if arguments.model in (None, record.model) and arguments.dataset in (None, record.dataset)
    ]  # fmt: skip
    if not found:
        print(f"no records of finished runs{_filters(arguments)} in {arguments.folder}")
        return 0
    rows, names = pd.DataFrame(map(_row, found)), arguments.columns.split(",") if arguments.columns else None
    table = pd.DataFrame({name: _column(found, name) for name in names}) if names else rows
    order = _order(_column(found, arguments.sort), arguments.sort)
    table, found = table.iloc[order], [found[place] for place in order]
    if arguments.csv:
        write_whole(Path(arguments.csv), lambda file: table.to_csv(file, index=False))
        print(f"{arguments.csv}: {len(table)} runs")
        return 0
    Console(highlight=False).print(_shown(table) if names else _listed(found, Path(arguments.folder)))
    return 0


def _row(record: Record) -> dict[str, object]:
    """What a record says, flat: the columns of the CSV file."""
    return {
        "when": f"{record.when:%Y-%m-%d %H:%M:%S}", "model": record.model, "dataset": record.dataset, "seed": record.seed,
        "encoder": record.encoder, "encoder_training": record.encoder_training, "valid_metric": record.valid_metric,
        "valid": (record.valid or {}).get(record.valid_metric), "test": (record.test or {}).get(record.valid_metric),
        "seconds": record.seconds, "stem": str(record.stem), **(record.cost or {}),
        **{f"valid_{name}": value for name, value in (record.valid or {}).items()},
        **{f"test_{name}": value for name, value in (record.test or {}).items()},
    }  # fmt: skip


def _column(records: Sequence[Record], name: str) -> pd.Series:
    """A column by name: one of ``_row``'s, a metric, which is the test's, or a setting."""
    facts = [{**record.settings, **(record.test or {}), **_row(record)} for record in records]
    if not any(name in known for known in facts):
        raise InputError(f"no column, metric or setting {name}{nearest(name, {key for known in facts for key in known})}")
    return pd.Series([known.get(name) for known in facts])


def _order(column: pd.Series, name: str) -> list[int]:
    """The places of rows in their order: the newest first, the best of a metric first, anything else ascending; those without come last."""
    if not pd.api.types.is_numeric_dtype(column):
        column = column.map(str, na_action="ignore")
    metric = name.removeprefix("valid_").removeprefix("test_").partition("@")[0].lower()
    best_first = ("@" in name or name in ("valid", "test")) and metric not in SMALLER_IS_BETTER
    return column.sort_values(ascending=not (best_first or name == NEWEST_FIRST), kind="stable", na_position="last").index.tolist()


def _listed(records: Sequence[Record], folder: Path) -> Table:
    """The table for the screen. The name of a run, which says model, data set and time, is too long for the encoder beside."""
    metrics = {record.valid_metric for record in records}
    table = _table(str(folder))
    table.add_column("run", overflow="fold")
    table.add_column("seed", justify="right")
    for part in ("valid", "test"):
        table.add_column(f"{part}\n{min(metrics)}" if len(metrics) == 1 else part, justify="right")
    table.add_column("seconds", justify="right")
    for record in records:
        notes = [record.valid_metric] if len(metrics) > 1 else []
        notes += [record.encoder, record.encoder_training] if record.encoder else []
        run = Text.assemble(str(record.stem.relative_to(folder)), (f"\n  {', '.join(notes)}" if notes else "", "dim"))
        values = [(result or {}).get(record.valid_metric) for result in (record.valid, record.test)]
        values = ["" if value is None else f"{value:.4f}" for value in values]
        table.add_row(run, str(record.seed), *values, f"{record.seconds:,.0f}")
    return table


def _shown(table: pd.DataFrame) -> Table:
    shown = _table()
    for name in table:
        shown.add_column(name, justify="right" if pd.api.types.is_numeric_dtype(table[name]) else "left", overflow="fold")
    for row in table.itertuples(index=False):
        shown.add_row(*map(_text, row))
    return shown


def _table(title: str | None = None) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _filters(arguments: argparse.Namespace) -> str:
    return f"{f' of {arguments.model}' if arguments.model else ''}{f' on {arguments.dataset}' if arguments.dataset else ''}"
