"""Tables of delimited text, CSV above all: their columns, and how their cells are separated, quoted and escaped."""

import csv
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.convert import open_text, without_first_lines
from recbole_mm.data.prepare.input_table import NESTED, REJECTS, InputTable
from recbole_mm.data.prepare.source import Layout
from recbole_mm.errors import InputError

TYPES = ("token", "token_seq", "float", "float_seq")
"""The types in the headers of RecBole's atomic files."""
SAMPLE = 20_000
"""How many lines say how the file is written."""
INDEX = re.compile(r"Unnamed: \d+(\.\d+)?|__index_level_\d+__|")
"""The names that an index gets which was written as a column: none, or what pandas makes of none."""


def open_delimited(
    path: Path, source: Path, scratch: Path, kind: str, layout: Layout, delimiter: str | None, quote: str | None, escape: str | None
) -> InputTable:
    """Opens the table in ``source``, which is ``path`` or a rewritten copy of it. ``scratch`` is a folder for one more copy.

    Raises:
        InputError: the header is none.
    """
    quote = layout.quote if quote is None else quote
    with open_text(source, "utf-8-sig") as file:
        lines = list(islice(file, SAMPLE))
    skip = next((n for n, line in enumerate(lines) if line.strip()), 0)
    separator = re.fullmatch(r'"?sep=(.)"?', lines[skip].strip()) if lines and not layout.columns else None
    skip += bool(separator)  # Excel's line that names the separator
    head, rest = (lines[skip] if skip < len(lines) else ""), lines[skip + 1 :]
    named = separator.group(1) if separator else "\t" if kind == "tsv" else max(",;\t|", key=head.count)
    delimiter = delimiter or layout.delimiter or named
    columns = layout.columns or _with_index(_without_types(_cells(head.rstrip("\r\n"), delimiter, quote)), rest, delimiter, quote)
    named = [column for column in columns if not INDEX.fullmatch(column)]
    if len(set(named)) < len(named) or not named:
        raise InputError(f"{path}: line {skip + 1} has {'a name twice' if named else 'no names of columns'}: {head.strip()[:200]!r}")
    names = [column if column in named else f"{NESTED}{n}" for n, column in enumerate(columns)]
    escape = escape or (_escape(rest, delimiter, quote, len(columns)) if quote else quote)
    types = ", ".join(f"{sql.text(column)}: 'VARCHAR'" for column in names)
    whole = without_first_lines(source, skip, scratch)
    header = str(not layout.columns).lower()
    scan = (
        f"read_csv({sql.text(whole)}, auto_detect = false, columns = {{{types}}}, header = {header}, delim = "
        f"{sql.text(delimiter)}, quote = {sql.text(quote)}, escape = {sql.text(escape)}, strict_mode = true, {REJECTS})"
    )
    ignored = tuple(column or "a column without a name" for column in columns if column not in named)
    return InputTable(path, kind, tuple(named), scan, quote=quote, ignored=ignored, cut=skip, first_line=skip + 1 + (not layout.columns))


def _cells(line: str, delimiter: str, quote: str) -> tuple[str, ...]:
    if len(delimiter) > 1 or not quote:
        return tuple(line.split(delimiter))
    return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, quotechar=quote), []))


def _without_types(cells: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns, without the types if all header cells are RecBole's ``name:type``."""
    typed = all(cell.rpartition(":")[2] in TYPES for cell in cells)
    return tuple(cell.rpartition(":")[0] if typed else cell for cell in cells)


def _with_index(columns: tuple[str, ...], lines: Sequence[str], delimiter: str, quote: str) -> tuple[str, ...]:
    """The columns with one without a name, where every row has a cell more than the header: first, as R writes the names of rows, which
    are all different, or last, where every line ends in a separator."""
    if quote and any("\\" + quote in line for line in lines[:50]):
        return columns
    rows = [cells for cells in (_cells(line.rstrip("\r\n"), delimiter, quote) for line in lines[:50] if line.strip()) if cells]
    if not rows or any(len(cells) != len(columns) + 1 for cells in rows):
        return columns
    if not any(cells[-1] for cells in rows):
        return (*columns, "")
    return ("", *columns) if len({cells[0] for cells in rows}) == len(rows) > 1 else columns


def _escape(lines: Sequence[str], delimiter: str, quote: str, width: int) -> str:
    r"""What stands before a quote inside of quotes: another one, or, if the lines fit the header in no other way, a backslash."""
    if len(delimiter) > 1 or not any("\\" + quote in line for line in lines):
        return quote
    doubled = _fits(lines, width, delimiter=delimiter, quotechar=quote, doublequote=True)
    escaped = not doubled and _fits(lines, width, delimiter=delimiter, quotechar=quote, doublequote=False, escapechar="\\")
    return "\\" if escaped else quote


def _fits(lines: Sequence[str], width: int, **how: object) -> bool:
    reader = csv.reader(lines, strict=True, **how)
    try:
        return all(len(row) in (0, width) for row in reader)
    except csv.Error:
        return len(lines) == SAMPLE and reader.line_num >= len(lines)
