"""Loads a table into the database, and counts the rows that cannot be read."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.errors import InputError


@dataclass(frozen=True)
class Loaded:
    """How many rows a file has without its blank lines, how many of them cannot be read, and a description of the first such row."""

    rows: int
    bad: int
    first_bad: str


def load(connection: duckdb.DuckDBPyConnection, table: InputTable, into: str, query: str, max_bad_rows: float) -> Loaded:
    """Creates the table ``into`` from ``query``, in the order of the file. The query is over ``table.rows`` and keeps its column ``fault``.

    Raises:
        InputError: the file is not UTF-8, a quote is never closed, or a larger share of the rows than ``max_bad_rows`` cannot be read.
    """
    connection.execute("SET preserve_insertion_order = true")
    before = _last_scan(connection)
    with sql.complaints(table.path):
        connection.execute(f"CREATE TABLE {into} AS {query}")
    rejected, first_rejected = _rejects(connection, table, before)
    faulty, first_row = connection.execute(f"SELECT count(*), min(rowid) FROM {into} WHERE fault <> ''").fetchone()
    rows = rejected + sql.count(connection, f"SELECT count(*) FROM {into} WHERE fault IS NULL OR fault <> ''")
    bad, first = rejected + faulty, ""
    if faulty:
        fault = connection.execute(f"SELECT fault FROM {into} WHERE rowid = {first_row}").fetchone()[0]
        first = f"{table.path} {table.row_name(first_row, exact=table.kind == 'jsonl')}: {fault}"
    if rejected:
        first = first_rejected
    if not rows:
        raise InputError(f"{table.path} holds no rows")
    if bad > max_bad_rows * rows:
        raise InputError(f"{bad:,} of {rows:,} rows cannot be read. The first is {first}; repair the file, or raise --max-bad-rows")
    return Loaded(rows, bad, first)


def not_utf8(path: Path, where: str = "") -> InputError:
    """The error for a file that is not UTF-8 (at a line, given as " line 3")."""
    return InputError(f"{path}{where} is not UTF-8; say what it is with --encoding=NAME, for example latin-1, cp1252 or utf-16")


def _last_scan(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the last scan of a csv file so far."""
    if not sql.count(connection, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_scans'"):
        return -1
    return sql.count(connection, "SELECT coalesce(max(scan_id), -1) FROM reject_scans")


def _rejects(connection: duckdb.DuckDBPyConnection, table: InputTable, before: int) -> tuple[int, str]:
    """The rows that DuckDB's csv reader has left out in the scans after ``before``: their number, and a description of the first one."""
    if table.kind in ("parquet", "json"):
        return 0, ""
    errors = connection.execute(
        "SELECT line, first(error_type::VARCHAR), first(error_message), first(csv_line), file_id FROM reject_errors "
        f"WHERE scan_id > {before} GROUP BY file_id, line ORDER BY file_id, line"
    ).fetchall()
    parts = table.parts or (table,)
    for line, kind, _, cells, file in errors:
        path, line = parts[file].path, line + parts[file].cut
        if kind == "INVALID ENCODING":
            raise not_utf8(path, f" line {line}")
        if table.quote and (cells or "").strip("\n").split("\n")[0].count(table.quote) % 2:
            raise InputError(
                f"{path} line {line}: a quote is opened and not closed in its line, and the row does not fit; repair it, or give "
                "--quote= if quotes have no meaning in this file, or --escape=CHAR if another character than a quote stands before quotes"
            )
    if not errors:
        return 0, ""
    line, _, reason, _, file = errors[0]
    return len(errors), f"{parts[file].path} line {line + parts[file].cut}: {' '.join(reason.split('.')[0].split())}"
