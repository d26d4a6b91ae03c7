"""The cells of an atomic file's columns, by the type that the header gives them. Missing values are NaN."""

from collections import Counter
from collections.abc import Sequence
from itertools import compress

import numpy as np
import pandas as pd

from recbole_mm.data.atomic_file import AtomicFile
from recbole_mm.errors import InputError

MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None",
    "n/a", "nan", "null",
))  # fmt: skip
"""What stands for a missing value, in RecBole as in pandas. White space alone does so as well."""
NAMED_IN_MESSAGE = 5


def is_missing(cell: str) -> bool:
    return cell in MISSING or cell.isspace()


def tokens(cells: Sequence[str]) -> np.ndarray:
    """A column of type ``token``: strings, and NaN for those that are missing, object (n,)."""
    return np.array([np.nan if is_missing(cell) else cell for cell in cells], dtype=object)


def numbers(file: AtomicFile, name: str, rows: Sequence[int], key: str | None = None) -> np.ndarray:
    """A column of type ``float`` in the given rows: float64 (n,).

    Args:
        key: the key that needs numbers in this column, if one does.

    Raises:
        InputError: a cell is no finite number, or all of them are missing.
    """
    cells = [file.columns[name][row] for row in rows]
    read = pd.to_numeric(pd.Series(["nan" if is_missing(cell) else cell for cell in cells], dtype=object), errors="coerce")
    values = read.to_numpy(dtype=np.float64, na_value=np.nan)
    odd = [at for at in np.flatnonzero(~np.isfinite(values)).tolist() if not is_missing(cells[at])]
    if odd:
        first, more = odd[0], f" and {len(odd) - 1:,} more" * (len(odd) > 1)
        hint = " (decimals are written with a point)" if cells[first].replace(",", "", 1).strip().lstrip("-").isdigit() else ""
        instead = f"write {name}:token in the header" if key is None else "make the data set by recbole-mm prepare, which reads dates"
        also = "" if key not in (None, "TIME_FIELD") else f", or {instead}"
        raise InputError(f"{file.path}: line {file.lines[rows[first]]}: {name} {cells[first]!r} is no number{hint}; correct it{more}{also}")
    if len(values) and np.isnan(values).all():
        raise InputError(f"{file.path}: {name} is empty in every row; fill it in{'' if key else ', or leave it out (load_col)'}")
    return values


def token_lists(cells: Sequence[str], separator: str) -> list[np.ndarray]:
    """A column of type ``token_seq``: the tokens of every row."""
    return [np.array([part for part in _list(cell).split(separator) if part]) for cell in cells]


def number_lists(file: AtomicFile, name: str, rows: Sequence[int], separator: str) -> list[np.ndarray]:
    """A column of type ``float_seq`` in the given rows: the numbers of each.

    Raises:
        InputError: one of them is no number.
    """
    found = []
    for row in rows:
        parts = [part for part in _list(file.columns[name][row]).split(separator) if part]
        try:
            found.append(np.array([float(part) for part in parts]))
        except ValueError as error:
            raise InputError(f"{file.path}: line {file.lines[row]}: {name} holds what is no number ({error}); its numbers are separated by "
                             f"seq_separator, {separator!r}") from error  # fmt: skip
    return found


def rows_with(file: AtomicFile, fields: Sequence[str]) -> tuple[list[int], str]:
    """The rows in which none of some token columns is missing, and a line that says which are not among them, "" if all are."""
    lacking = np.zeros(len(file.lines), dtype=bool)
    texts: Counter[str] = Counter()
    for field in fields:
        cells = file.columns[field]
        missing = np.fromiter(map(is_missing, cells), dtype=bool, count=len(cells))
        lacking |= missing
        texts.update(cell.strip() for cell in compress(cells, missing))
    rows = np.flatnonzero(~lacking).tolist()
    gone = [file.lines[row] for row in np.flatnonzero(lacking).tolist()]
    if not gone:
        return rows, ""
    written = ", ".join(f"{text!r}" if text else "empty" for text, _ in texts.most_common())
    return rows, f"{file.path}: {len(gone):,} of {len(file.lines):,} rows have no {' or no '.join(fields)} ({written}) and are left out: " \
                 f"{line_numbers(gone)}"  # fmt: skip


def line_numbers(lines: Sequence[int]) -> str:
    """Line numbers for a message, the first few of them."""
    shown = ", ".join(map(str, lines[:NAMED_IN_MESSAGE]))
    return f"line{'s' * (len(lines) > 1)} {shown}{', ...' * (len(lines) > NAMED_IN_MESSAGE)}"


def _list(cell: str) -> str:
    return "" if is_missing(cell) else cell
