"""Loads a table into the database, and counts the rows that cannot be read."""

from dataclasses import dataclass

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.input_table import InputTable, not_utf8
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
    with sql.complaints(table.path):
        connection.execute(f"CREATE TABLE {into} AS {query}")
    rejected, first_line, first_reason = _rejects(connection, table)
    faulty, first_row = connection.execute(f"SELECT count(*), min(rowid) FROM {into} WHERE fault <> ''").fetchone()
    rows = rejected + sql.count(connection, f"SELECT count(*) FROM {into} WHERE fault IS NULL OR fault <> ''")
    bad, first = rejected + faulty, ""
    if faulty:
        fault = connection.execute(f"SELECT fault FROM {into} WHERE rowid = {first_row}").fetchone()[0]
        first = f"{table.path} {table.row_name(first_row, exact=table.kind == 'jsonl')}: {fault}"
    if rejected:
        first = f"{table.path} line {first_line}: {first_reason}"
    if not rows:
        raise InputError(f"{table.path} holds no rows")
    if bad > max_bad_rows * rows:
        raise InputError(f"{bad:,} of {rows:,} rows cannot be read. The first is {first}; repair the file, or raise --max-bad-rows")
    return Loaded(rows, bad, first)


def _rejects(connection: duckdb.DuckDBPyConnection, table: InputTable) -> tuple[int, int, str]:
    """The rows that DuckDB's csv reader has left out of its last scan: their number, the line of the first one, and the reason."""
    if table.kind == "parquet":
        return 0, 0, ""
    errors = connection.execute(
        "SELECT line, first(error_type::VARCHAR), first(error_message), first(csv_line) FROM reject_errors "
        "WHERE scan_id = (SELECT max(scan_id) FROM reject_scans) GROUP BY line ORDER BY line"
    ).fetchall()
    for line, kind, _, cells in errors:
        if kind == "INVALID ENCODING":
            raise not_utf8(table.path, f" line {line}")
        if table.quote and (cells or "").strip("\n").split("\n")[0].count(table.quote) % 2:
            raise InputError(
                f"{table.path} line {line}: a quote is opened and not closed in its line, and the row does not fit; "
                "repair it, or give --quote= if quotes have no meaning in this file"
            )
    line, _, reason, _ = errors[0] if errors else (0, "", "", "")
    return len(errors), line, " ".join(reason.split(".")[0].split())
