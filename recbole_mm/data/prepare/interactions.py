"""Interactions are loaded, filtered and written by DuckDB alone, within the memory that it is given."""

from pathlib import Path

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.columns import find_column, instead_of, need_column
from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.data.prepare.load import load
from recbole_mm.data.prepare.numbers import LIKE_NUMBERS, decimal_sign, number
from recbole_mm.data.prepare.options import Options
from recbole_mm.data.prepare.source import Source
from recbole_mm.data.prepare.summary import Summary, Table
from recbole_mm.data.prepare.times import times
from recbole_mm.data.prepare.where import mentioned, rows_where
from recbole_mm.errors import InputError

RATING_SAMPLE = 10_000
"""How many rows tell whether a column that nobody has named holds ratings."""
FAULT = "CASE WHEN {0} IS NULL THEN {1} || coalesce(nullif(left(trim({2}), 40), ''), '(empty)') END"


def load_interactions(connection: duckdb.DuckDBPyConnection, table: InputTable, source: Source, options: Options, summary: Summary) -> None:
    """Creates the table ``raw`` in the order of the file, with the columns u and i (tokens), rating, time (in seconds), passes
    (whether ``--where`` lets it) and fault.

    Raises:
        InputError: there is no column of users or items, a minimum rating is asked for without ratings, or too many rows cannot be read.
    """
    asked = {"user": options.user_column, "item": options.item_column, "time": options.time_column, "rating": options.rating_column}
    known = {"user": source.user, "item": source.item, "time": source.time, "rating": source.rating}
    found = {role: find_column(role, table.columns, table.path, asked[role], known[role]) for role in asked}
    for role in ("user", "item"):
        need_column(role, table.columns, table.path, found[role])
    if options.min_rating is not None and found["rating"] is None:
        need_column("rating", table.columns, table.path, None)
    if options.time_format or options.time_unit != "auto":
        need_column("time", table.columns, table.path, found["time"])
    columns = {role: column for role, column in found.items() if column is not None}
    rows = rows_where(connection, table, list(columns.values()), options.where)
    cells = {role: f"c{n}" for n, role in enumerate(columns)}
    passing = f"SELECT * FROM ({rows}) WHERE passes"
    said: dict[str, str] = {}
    time, rating, faults = "NULL::DOUBLE", "NULL::DOUBLE", ["fault"]
    with sql.complaints(table.path):
        if "time" in cells:
            read = times(connection, passing, cells["time"], columns["time"], options.time_unit, options.time_format, options.decimal)
            time, said["time"] = read.seconds, read.said
            faults.append(FAULT.format(time, "'no time that can be read (see --time-format): '", cells["time"]))
        if "rating" in cells and asked["rating"] is None and known["rating"] is None and _no_numbers(connection, passing, cells["rating"]):
            summary.notes.append(f"the column {columns.pop('rating')} holds few numbers, so it is not used as the rating")
        if "rating" in columns:
            sign = decimal_sign(connection, passing, cells["rating"], columns["rating"], options.decimal)
            rating, said["rating"] = number(cells["rating"], sign), "with a comma before the decimals" if sign == "," else ""
            fault = FAULT.format(rating, "'no number as rating: '", cells["rating"])
            faults.append(f"CASE WHEN trim({cells['rating']}) <> '' THEN {fault} END")
    for role in columns:
        other = instead_of(role, table.columns, columns.values()) if asked[role] is None else ""
        said[role] = "; ".join(filter(None, [said.get(role), other]))
    fault = ", ".join([faults[0], *(f"CASE WHEN passes THEN {one} END" for one in faults[1:])])
    tokens = [f"CASE WHEN passes THEN {sql.token(cells[role])} END AS {name}" for role, name in (("user", "u"), ("item", "i"))]
    query = f"SELECT {', '.join(tokens)}, {rating} AS rating, {time} AS time, passes, coalesce({fault}, NULL) AS fault FROM ({rows})"
    loaded = load(connection, table, "raw", query, options.max_bad_rows)
    if options.rating_column and "rating" in columns and not sql.count(connection, "SELECT count(rating) FROM raw"):
        raise InputError(f"--rating-column={options.rating_column}: {table.path} has no ratings in this column")
    summary.columns, summary.rows = columns, loaded.rows
    condition = {"--where": ", ".join(mentioned(table, options.where))} if options.where else {}
    summary.tables.append(Table.of(table, loaded.rows, columns | condition, {role: words for role, words in said.items() if words}))
    summary.drop("unreadable", loaded.bad)
    summary.first_unreadable += [loaded.first_bad] if loaded.bad else []
    summary.drop("left out by --where", sql.count(connection, "SELECT count(*) FROM raw WHERE fault IS NULL AND NOT passes"))


def _no_numbers(connection: duckdb.DuckDBPyConnection, rows: str, cell: str) -> bool:
    """Whether the column has fewer numbers than other words at its beginning."""
    sample = f"SELECT {cell} AS cell FROM ({rows}) WHERE trim({cell}) <> '' LIMIT {RATING_SAMPLE}"
    return sql.count(
        connection, f"SELECT count(*) > 2 * count(*) FILTER (regexp_full_match(cell, {sql.text(LIKE_NUMBERS)})) FROM ({sample})"
    )


def filter_interactions(connection: duckdb.DuckDBPyConnection, options: Options, summary: Summary) -> None:
    """Creates the table ``kept`` of what passes the filters, and counts what does not. Its columns are r (a row of ``raw``), uid and iid
    (rows of ``users`` and ``items``) and time.

    Raises:
        InputError: nothing passes the filters.
    """
    good = "fault IS NULL AND passes AND u IS NOT NULL AND i IS NOT NULL"
    nameless = "SELECT count(*) FROM raw WHERE fault IS NULL AND passes AND (u IS NULL OR i IS NULL)"
    summary.drop("without user or item", sql.count(connection, nameless))
    if options.min_rating is not None:
        enough = f"coalesce(rating >= {options.min_rating!r}, false)"
        low = sql.count(connection, f"SELECT count(*) FROM raw WHERE {good} AND NOT {enough}")
        summary.drop(f"rated below {options.min_rating:g}", low)
        good += f" AND {enough}"
    connection.execute("SET preserve_insertion_order = false")
    for names, column in (("users", "u"), ("items", "i")):
        connection.execute(f"CREATE TABLE {names} AS SELECT DISTINCT {column} FROM raw WHERE {good}")
    connection.execute(
        "CREATE TABLE kept AS SELECT raw.rowid AS r, users.rowid::INTEGER AS uid, items.rowid::INTEGER AS iid, raw.time "
        f"FROM raw JOIN users USING (u) JOIN items USING (i) WHERE {good}"
    )
    wanted = ["a user, an item"]
    wanted += [f"a rating of {options.min_rating:g}"] if options.min_rating is not None else []
    wanted += ["what --where asks for"] if options.where else []
    _check_left(connection, f"rows have {' and '.join(wanted)}")
    _dedup(connection, options.dedup, summary)
    _k_core(connection, options.k_core, summary)


def _filter_kept(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Replaces ``kept`` by the result of a query over it, and returns how many rows that has removed."""
    before = sql.count(connection, "SELECT count(*) FROM kept")
    connection.execute(f"CREATE TABLE next AS {query}")
    connection.execute("DROP TABLE kept")
    connection.execute("ALTER TABLE next RENAME TO kept")
    return before - sql.count(connection, "SELECT count(*) FROM kept")


def _dedup(connection: duckdb.DuckDBPyConnection, which: str, summary: Summary) -> None:
    """Keeps one interaction of every user and item: the first or the last in time, and of the same time the first or the last in the
    file. Only repeated pairs are sorted."""
    connection.execute("CREATE TABLE pairs AS SELECT uid, iid FROM kept GROUP BY uid, iid HAVING count(*) > 1")
    lost = 0
    if sql.count(connection, "SELECT count(*) FROM pairs"):
        order = "DESC" if which == "last" else "ASC"
        lost = _filter_kept(
            connection,
            "SELECT * FROM kept ANTI JOIN pairs USING (uid, iid) UNION ALL "
            "SELECT * EXCLUDE (n) FROM (SELECT kept.*, row_number() OVER ("
            f"PARTITION BY uid, iid ORDER BY time {order}, r {order}) AS n FROM kept SEMI JOIN pairs USING (uid, iid)) WHERE n = 1",
        )
    connection.execute("DROP TABLE pairs")
    summary.drop(f"repeated (the {which} is kept)", lost)


def _k_core(connection: duckdb.DuckDBPyConnection, k: int, summary: Summary) -> None:
    if k < 2:
        return
    lost = 0
    while True:
        few = [f"SELECT {side} FROM kept GROUP BY {side} HAVING count(*) < {k}" for side in ("uid", "iid")]
        connection.execute(f"CREATE OR REPLACE TEMP TABLE few_users AS {few[0]}")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE few_items AS {few[1]}")
        if not sql.count(connection, "SELECT (SELECT count(*) FROM few_users) + (SELECT count(*) FROM few_items)"):
            break
        lost += _filter_kept(connection, "SELECT * FROM kept ANTI JOIN few_users USING (uid) ANTI JOIN few_items USING (iid)")
    summary.drop(f"outside the {k}-core", lost)
    _check_left(connection, f"user and item have {k} interactions: lower --k-core")


def _check_left(connection: duckdb.DuckDBPyConnection, what: str) -> None:
    if not sql.count(connection, "SELECT count(*) FROM kept"):
        raise InputError(f"nothing is left: no {what}")


def write_interactions(connection: duckdb.DuckDBPyConnection, file: Path, has_rating: bool, has_time: bool, where: str = "true") -> None:
    """Writes the kept interactions as an atomic file, sorted by user, time and position in the input."""
    columns = ['u AS "user_id:token"', 'i AS "item_id:token"']
    if has_rating:
        columns.append('raw.rating AS "rating:float"')
    if has_time:
        whole = "CASE WHEN raw.time = floor(raw.time) THEN format('{:.0f}', raw.time) ELSE format('{:.3f}', raw.time) END"
        columns.append(f'{whole} AS "timestamp:float"')
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(
        f"COPY (SELECT {', '.join(columns)} FROM kept JOIN raw ON raw.rowid = kept.r WHERE {where} ORDER BY u, kept.time, kept.r) "
        f"TO {sql.text(file)} (FORMAT csv, DELIMITER '\t', HEADER, QUOTE '\"', ESCAPE '\"')"
    )
