"""Input tables of any common kind as SQL: the wanted columns as text, and what is wrong with a row."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.convert import DAMAGED, has_python_lines, open_text, to_json_lines, to_utf8, with_line_feeds
from recbole_mm.data.prepare.source import Layout
from recbole_mm.errors import InputError, one_line

KINDS = {
    ".csv": "csv", ".txt": "csv", ".dat": "csv", ".tsv": "tsv", ".tab": "tsv", ".inter": "tsv", ".item": "tsv",
    ".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
PACKED = (".gz", ".zst")
TYPES = ("token", "token_seq", "float", "float_seq")
"""The types in the headers of RecBole's atomic files."""
NESTED = "\x01"
"""Stands before a cell that is a list or object, given as JSON."""
JSON_SAMPLE = 1000
"""How many lines of a JSON file are read for the names of its columns."""


@dataclass(frozen=True)
class InputTable:
    """A file with a table.

    Attributes:
        kind: "csv", "tsv", "jsonl" or "parquet".
        columns: the names of the columns.
        scan: the SQL that reads the file.
        nested: the columns whose cells are lists or objects.
        quote: the character that quotes cells.
    """

    path: Path
    kind: str
    columns: tuple[str, ...]
    scan: str
    nested: frozenset[str] = frozenset()
    quote: str = ""

    def rows(self, columns: Sequence[str]) -> str:
        """A query over the file, in its order. Its columns are ``c0``, ``c1``, ... (the wanted ones, as text) and ``fault``, which is NULL
        for a good row, "" for a blank line, and otherwise says what is wrong. Lists and objects are JSON behind ``NESTED``."""
        if self.kind == "jsonl":
            return self._json_rows(columns)
        cells = "".join(f", {self._cell(column)} AS c{i}" for i, column in enumerate(columns))
        return f"SELECT NULL::VARCHAR AS fault{cells} FROM {self.scan}"

    def _cell(self, column: str) -> str:
        name = sql.name(column)
        return f"{sql.text(NESTED)} || to_json({name})::VARCHAR" if column in self.nested else f"{name}::VARCHAR"

    def _json_rows(self, columns: Sequence[str]) -> str:
        paths = ", ".join(sql.text("/" + column.replace("~", "~0").replace("/", "~1")) for column in columns)
        valid = "CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line END"
        cells = "".join(
            f", CASE WHEN k[{i}] IN ('ARRAY', 'OBJECT') THEN {sql.text(NESTED)} || v[{i}] ELSE v[{i}] END AS c{i - 1}"
            for i in range(1, len(columns) + 1)
        )
        fault = "CASE WHEN good IS NOT NULL THEN NULL WHEN trim(coalesce(line, ''), E' \\t\\r') = '' THEN '' ELSE 'no JSON object' END"
        return (
            f"SELECT {fault} AS fault{cells} FROM (SELECT line, good, json_extract_string(good, [{paths}]) AS v, "
            f"json_type(good, [{paths}]) AS k FROM (SELECT line, {valid} AS good FROM {self.scan}))"
        )

    def row_name(self, row: int, exact: bool) -> str:
        """Where in the file a row (counted from 0) is: its line, if that is known ``exact``ly, or else its number."""
        return f"line {row + 1 + (self.kind in ('csv', 'tsv'))}" if exact and self.kind != "parquet" else f"row {row + 1}"


def open_table(
    connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, scratch: Path,
    encoding: str | None = None, delimiter: str | None = None, quote: str | None = None,
) -> InputTable:  # fmt: skip
    """Opens the table in a file, whose kind is told by the ending of its name. ``scratch`` is a folder for a rewritten copy, if one is
    needed.

    Raises:
        InputError: the ending is unknown, the file is empty or not in its encoding, or the header is none.
    """
    ending = path.name.lower()
    for packed in PACKED:
        ending = ending.removesuffix(packed)
    kind = KINDS.get(Path(ending).suffix)
    if kind is None:
        raise InputError(f"{path}: not a table of a known kind; its name must end in {', '.join(KINDS)} (or that and .gz)")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if kind == "parquet":
        return _parquet(connection, path)
    encoding, source = encoding or layout.encoding or "utf-8", path
    try:
        if encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig"):
            source = to_utf8(path, encoding, scratch)
        if kind == "jsonl":
            return _json_lines(path, to_json_lines(source, scratch) if layout.python and has_python_lines(source) else source)
        return _csv(path, with_line_feeds(source, scratch), kind, layout, delimiter, quote)
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    except DAMAGED as error:
        raise InputError(f"{path}: the packed file is damaged ({one_line(error)})") from error


def not_utf8(path: Path, where: str = "") -> InputError:
    """The error for a file that is not UTF-8 (at a line, given as " line 3")."""
    return InputError(f"{path}{where} is not UTF-8; say what it is with --encoding=NAME, for example latin-1, cp1252 or utf-16")


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> InputTable:
    scan = f"read_parquet({sql.text(path)})"
    with sql.complaints(path):
        described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    columns = tuple(row[0] for row in described)
    nested = frozenset(row[0] for row in described if row[1].endswith("]") or row[1].startswith(("STRUCT", "MAP")))
    whole = [f"CASE WHEN {sql.name(c)} = floor({sql.name(c)}) THEN format('{{:.0f}}', {sql.name(c)}) ELSE {sql.name(c)}::VARCHAR END "
             f"AS {sql.name(c)}" for c, kind, *_ in described if kind in ("DOUBLE", "FLOAT")]  # fmt: skip
    return InputTable(path, "parquet", columns, f"(SELECT * REPLACE ({', '.join(whole)}) FROM {scan})" if whole else scan, nested)


def _json_lines(path: Path, source: Path) -> InputTable:
    columns: dict[str, None] = {}
    with open_text(source, "utf-8-sig", errors="replace") as lines:
        for line in islice(lines, JSON_SAMPLE):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            columns.update(dict.fromkeys(value if isinstance(value, dict) else ()))
    if not columns:
        raise InputError(f"{path}: no JSON object in the first {JSON_SAMPLE} lines; it must hold one object per line")
    options = f"columns = {{'line': 'VARCHAR'}}, header = false, delim = {sql.text(NESTED)}, quote = '', escape = '', strict_mode = false"
    return InputTable(path, "jsonl", tuple(columns), f"read_csv({sql.text(source)}, auto_detect = false, {options}, {_REJECTS})")


_REJECTS = "store_rejects = true, rejects_limit = 100000"


def _csv(path: Path, source: Path, kind: str, layout: Layout, delimiter: str | None, quote: str | None) -> InputTable:
    quote = layout.quote if quote is None else quote
    with open_text(source, "utf-8-sig") as lines:
        head = lines.readline()
    delimiter = delimiter or layout.delimiter or ("\t" if kind == "tsv" else max(",;\t|", key=head.count))
    columns = layout.columns or _without_types(_cells(head.rstrip("\r\n"), delimiter, quote))
    if len(set(columns)) < len(columns) or not all(columns):
        raise InputError(f"{path}: line 1 has a column without a name, or a name twice: {head.strip()[:200]!r}")
    named = ", ".join(f"{sql.text(column)}: 'VARCHAR'" for column in columns)
    scan = (
        f"read_csv({sql.text(source)}, auto_detect = false, columns = {{{named}}}, header = {str(not layout.columns).lower()}, "
        f"delim = {sql.text(delimiter)}, quote = {sql.text(quote)}, escape = {sql.text(quote)}, strict_mode = true, {_REJECTS})"
    )
    return InputTable(path, kind, tuple(columns), scan, quote=quote)


def _cells(line: str, delimiter: str, quote: str) -> list[str]:
    if len(delimiter) > 1 or not quote:
        return line.split(delimiter)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, quotechar=quote), [])]


def _without_types(cells: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns, without the types if all header cells are RecBole's ``name:type``."""
    typed = all(cell.rpartition(":")[2] in TYPES for cell in cells)
    return tuple(cell.rpartition(":")[0] if typed else cell for cell in cells)
