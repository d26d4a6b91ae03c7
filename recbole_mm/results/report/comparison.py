"""A comparison's folder, read back: the rows of its leaderboard with the records of their runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recbole_mm.errors import InputError, one_line
from recbole_mm.results.compare.cells import CELL, Cell, finished
from recbole_mm.results.compare.compare import RUNS
from recbole_mm.results.compare.leaderboard import labels_of
from recbole_mm.results.records import Record

LEADERBOARD, SLICES = "leaderboard.csv", "slices.csv"
SEEDS, FIRST_BEHIND = "seeds", "reference"
"""What stands before the metrics in the leaderboard, and behind them."""


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard.

    Attributes:
        name: in words, different for each.
        numbers: the row as it is written, "" for what it lacks.
        records: of its runs, one per seed; [] for the floor, and where they are gone.
    """

    name: str
    numbers: pd.Series
    records: list[Record]


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        columns: what tells the entries apart.
        metric: what it is about; ``metrics`` are all there are.
        entries: in the order of the leaderboard, the best first.
        slices: the metric on slices, with ``name``, that of the entry; empty where there are none.
    """

    columns: list[str]
    metric: str
    metrics: list[str]
    entries: list[Entry]
    slices: pd.DataFrame


def read_comparison(folder: Path) -> Comparison:
    """Reads what ``compare`` has written.

    Raises:
        InputError: there is no leaderboard, or it cannot be read.
    """
    file = folder / LEADERBOARD
    if not file.is_file():
        raise InputError(f"{folder} is no comparison: it has no {LEADERBOARD}, which recbole-mm compare writes")
    board = _table(file)
    heads = list(board)
    if SEEDS not in heads or FIRST_BEHIND not in heads or not len(board):
        raise InputError(f"{file} is no leaderboard of recbole-mm compare")
    columns = heads[: heads.index(SEEDS)]
    metrics = [name for name in heads[heads.index(SEEDS) + 1 : heads.index(FIRST_BEHIND)] if not name.endswith(" sd")]
    told = [column for column in columns if board[column].nunique() > 1] or columns[:1]
    records = _records(folder, columns)
    entries = [Entry(_name(row, told), row, records.get(tuple(row[column] for column in columns), [])) for _, row in board.iterrows()]
    slices = _table(folder / SLICES) if (folder / SLICES).is_file() and (folder / SLICES).stat().st_size > 1 else pd.DataFrame()
    if len(slices):
        slices["name"] = [_name(row, told) for _, row in slices.iterrows()]
        slices[metrics[0]] = pd.to_numeric(slices[metrics[0]])
    return Comparison(columns, metrics[0], metrics, entries, slices)


def _table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{file} cannot be read: {one_line(error)}") from error


def _name(row: pd.Series, columns: Sequence[str]) -> str:
    """The values of the columns in words, as ``CLIPRec (pretrained)``."""
    first, *others = [str(row[column]) for column in sorted(columns, key=lambda column: column != "model") if row[column]] or ["?"]
    return f"{first} ({', '.join(others)})" if others else first


def _records(folder: Path, columns: Sequence[str]) -> dict[tuple[str, ...], list[Record]]:
    """The values of the columns -> the records of the cells that have them."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for file in sorted((folder / RUNS).glob(f"*/{CELL}")):
        record = finished(file.parent)
        if record is not None:
            labels = labels_of(Cell.read(file.parent), record, columns)
            found.setdefault(tuple(labels.values()), []).append(record)
    return found
