"""Opens input tables of any common kind."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.convert import (
    DAMAGED,
    has_python_lines,
    is_utf8,
    to_json_lines,
    to_utf8,
    unpacked,
    wide_encoding,
    with_line_feeds,
)
from recbole_mm.data.prepare.delimited import open_delimited
from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.data.prepare.json_table import open_json
from recbole_mm.data.prepare.load import not_utf8
from recbole_mm.data.prepare.source import Layout
from recbole_mm.errors import InputError, listed, one_line

KINDS = {
    ".csv": "csv", ".txt": "csv", ".dat": "csv", ".tsv": "tsv", ".tab": "tsv", ".inter": "tsv", ".item": "tsv", ".text": "tsv",
    ".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
PACKED = (".gz", ".zst", ".zip", ".bz2", ".xz")
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
UTF8 = ("utf-8", "utf8", "utf-8-sig")


def open_table(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], layout: Layout, scratch: Path,
    encoding: str | None = None, delimiter: str | None = None, quote: str | None = None, escape: str | None = None,
) -> InputTable:  # fmt: skip
    """Opens the table in a file, or in several with the same columns. ``scratch`` is a folder for rewritten copies, if some are needed.

    Raises:
        InputError: the kind of a file is unknown, it is empty or not in its encoding, its header is none, or it lacks a column of the
            first file.
    """
    tables = []
    for number, file in enumerate(files):
        place = scratch / str(number)
        place.mkdir(exist_ok=True)
        try:
            tables.append(_open_file(connection, file, layout, place, encoding, {"delimiter": delimiter, "quote": quote, "escape": escape}))
        except UnicodeDecodeError as error:
            raise not_utf8(file) from error
        except DAMAGED as error:
            raise InputError(f"{file}: the packed file is damaged ({one_line(error)})") from error
    first, *others = tables
    for table in others:
        lacking = [column for column in first.columns if column not in table.columns]
        if lacking:
            raise InputError(f"{table.path} has no column {lacking[0]}, which {first.path} has; it has {listed(table.columns)}")
    return replace(first, parts=tuple(tables)) if others else first


def _open_file(
    connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, scratch: Path, encoding: str | None, written: dict[str, str | None]
) -> InputTable:
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    source = unpacked(path, scratch)
    kind = _kind(path, source.name.lower())
    if kind == "parquet":
        return _parquet(connection, path, source)
    encoding = encoding or layout.encoding or (wide_encoding(source) if source.suffix != ".zst" else None) or "utf-8"
    if encoding.lower().replace("_", "-") not in UTF8 and not (_of_bytes(encoding) and is_utf8(source)):
        source = to_utf8(source, encoding, scratch)
    if kind == "jsonl":
        return open_json(connection, path, to_json_lines(source, scratch) if layout.python and has_python_lines(source) else source)
    return open_delimited(path, with_line_feeds(source, scratch), scratch, kind, layout, **written)


def _of_bytes(encoding: str) -> bool:
    """Whether letters of an encoding are single bytes for ASCII. A text in it that can be read as UTF-8 is UTF-8: one option is for both
    tables, which may be written by different programs."""
    try:
        return "a".encode(encoding) == b"a"
    except LookupError:
        return False


def _kind(path: Path, name: str) -> str:
    """The kind of a file by the ending of its name, without that of a packing."""
    for packed in PACKED:
        name = name.removesuffix(packed)
    ending = Path(name).suffix
    if ending in SHEETS:
        raise InputError(f"{path} is a spreadsheet; save the sheet as CSV (.csv), in Excel as 'CSV UTF-8'")
    if ending not in KINDS:
        raise InputError(f"{path}: not a table of a known kind; its name must end in {', '.join(KINDS)} (or that and .gz or .zip)")
    return KINDS[ending]


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path, source: Path) -> InputTable:
    scan = f"read_parquet({sql.text(source)})"
    with sql.complaints(path):
        described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    columns = tuple(row[0] for row in described)
    nested = frozenset(row[0] for row in described if row[1].endswith("]") or row[1].startswith(("STRUCT", "MAP")))
    whole = [f"CASE WHEN {sql.name(c)} = floor({sql.name(c)}) THEN format('{{:.0f}}', {sql.name(c)}) ELSE {sql.name(c)}::VARCHAR END "
             f"AS {sql.name(c)}" for c, kind, *_ in described if kind in ("DOUBLE", "FLOAT")]  # fmt: skip
    return InputTable(path, "parquet", columns, f"(SELECT * REPLACE ({', '.join(whole)}) FROM {scan})" if whole else scan, nested)
