"""The condition of ``--where``: SQL over the columns of the interactions, which have the types that their cells show."""

from collections.abc import Sequence

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.input_table import NESTED, InputTable
from recbole_mm.errors import InputError, one_line


def rows_where(connection: duckdb.DuckDBPyConnection, table: InputTable, columns: Sequence[str], condition: str | None) -> str:
    """A query like ``table.rows(columns)`` with one more column, ``passes``: whether the condition holds.

    Raises:
        InputError: DuckDB does not understand the condition.
    """
    if condition is None:
        return f"SELECT *, true AS passes FROM ({table.rows(columns)})"
    asked = mentioned(table, condition)
    rows = table.rows([*columns, *asked])
    own = "".join(f", c{n} AS _c{n}_" for n in range(len(columns)))
    with sql.complaints(table.path):
        typed = "".join(f", {_typed(connection, rows, f'c{n}')} AS {sql.name(column)}"
                        for n, column in enumerate(asked, start=len(columns)))  # fmt: skip
    back = "".join(f", _c{n}_ AS c{n}" for n in range(len(columns)))
    named = f"SELECT fault AS _fault_{own}{typed} FROM ({rows})"
    query = f"SELECT _fault_ AS fault{back}, coalesce(({condition})::BOOLEAN, false) AS passes FROM ({named})"
    try:
        connection.execute(f"SELECT count(*) FROM ({query}) WHERE passes").fetchall()
    except duckdb.Error as error:
        said = one_line(duckdb.Error(str(error).partition("\n\nLINE ")[0].partition("\nLINE ")[0]), 300)
        raise InputError(f"--where={condition!r}: {said}; the columns of {table.path} are {', '.join(table.columns)}") from error
    return query


def mentioned(table: InputTable, condition: str | None) -> list[str]:
    """The columns whose names stand in a condition. Of names that differ in case alone, which SQL does not tell apart, the first."""
    found = {column.lower(): column for column in reversed(table.columns) if column.lower() in (condition or "").lower()}
    return list(reversed(found.values()))


def _typed(connection: duckdb.DuckDBPyConnection, rows: str, cell: str) -> str:
    """The SQL of a cell as a number, time or truth value, if all of its column are; empty ones are NULL. Numbers with zeros before them
    stay text."""
    value = f"CASE WHEN starts_with({cell}, {sql.text(NESTED)}) THEN substr({cell}, 2) ELSE nullif(trim({cell}), '') END"
    kinds = ("BIGINT", "DOUBLE", "TIMESTAMP")
    fits = ", ".join(f"count(TRY_CAST(v AS {kind}))" for kind in kinds)
    total, truths, zeros, points, *counts = connection.execute(
        "SELECT count(v), count(*) FILTER (lower(v) IN ('true', 'false')), count(*) FILTER (regexp_matches(v, '^-?0[0-9]')), "
        f"count(*) FILTER (regexp_matches(v, '[.eE]')), {fits} FROM (SELECT {value} AS v FROM ({rows}))"
    ).fetchone()
    if total and truths == total:
        return f"TRY_CAST({value} AS BOOLEAN)"
    for kind, number in zip(kinds, counts, strict=True):
        if total and number == total and not (zeros and kind != "TIMESTAMP") and not (points and kind == "BIGINT"):
            return f"TRY_CAST({value} AS {kind})"
    return value
