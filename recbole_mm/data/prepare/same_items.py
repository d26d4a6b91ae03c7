"""Items whose ids are written otherwise in the two tables: 12.0 and 12, SKU-1 and sku-1, 0012 and 12, 1.2345678E+12 and 1234567800000."""

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.data.prepare.load import load
from recbole_mm.data.prepare.summary import Summary
from recbole_mm.errors import InputError, listed

NEARLY_NOTHING = 0.05
"""Below this share of the ordered items, an item table belongs to other orders."""
AMBIGUOUS = 0.01
"""If more than this share of an item table's ids differ from others of it in such a way alone, this way tells items apart."""
ROUNDED = r"[0-9](\.[0-9]+)?E\+[0-9]+"
"""A number as a spreadsheet shows a long one, of which it has kept the first digits."""
_SPACES = r"[\s\x{a0}\x{200b}\x{feff}]+"
_WAYS = ("in upper and lower case, spaces or form of Unicode", "as a number", "in zeros before the number")


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Defines ``form0``, ``form1`` and ``form2`` of an id: equal for ids that differ in the first one, two or three of the ways above."""
    bare = f"regexp_replace(t, '^{_SPACES}|{_SPACES}$', '', 'g')"
    connection.execute(f"CREATE MACRO form0(t) AS nfc_normalize(lower(nfc_normalize({bare})))")
    exact = "length(regexp_extract(l, '\\.([0-9]+)e', 1)) <= TRY_CAST(regexp_extract(l, 'e\\+?([0-9]+)$', 1) AS INTEGER)"
    connection.execute(
        "CREATE MACRO digits(l) AS CASE WHEN regexp_full_match(l, '[0-9]+\\.0*') THEN split_part(l, '.', 1) WHEN regexp_full_match(l, "
        f"'[0-9]+(\\.[0-9]+)?e\\+?[0-9]{{1,2}}') AND {exact} THEN coalesce(TRY_CAST(TRY_CAST(l AS HUGEINT) AS VARCHAR), l) ELSE l END"
    )
    connection.execute("CREATE MACRO form1(t) AS digits(form0(t))")
    bare = "coalesce(nullif(ltrim(form1(t), '0'), ''), '0')"
    connection.execute(f"CREATE MACRO form2(t) AS CASE WHEN regexp_full_match(form1(t), '[0-9]+') THEN {bare} ELSE form1(t) END")


def best_item_column(connection: duckdb.DuckDBPyConnection, table: InputTable, columns: list[str]) -> str:
    """Of several columns that may hold the items of an item table, the one in which most of the ordered items are; the first of equals."""
    shares = []
    for column in columns:
        listed_there = f"SELECT DISTINCT form2(c0) AS f FROM ({table.rows([column])}) WHERE c0 IS NOT NULL"
        ordered = "SELECT DISTINCT form2(i) AS f FROM raw"
        with sql.complaints(table.path):
            shares.append(sql.count(connection, f"SELECT count(*) FROM ({ordered}) SEMI JOIN ({listed_there}) USING (f)"))
    return columns[shares.index(max(shares))]


def match_items(
    connection: duckdb.DuckDBPyConnection, table: InputTable, column: str, orders: InputTable, asked: str, max_bad_rows: float,
    summary: Summary,
) -> None:  # fmt: skip
    """Writes the items of the orders (column i of ``raw``) as the item table has them, where one item of it is meant. Creates the table
    ``respelt`` (t, token): what is written for the ids of the item table that are numbers with decimals.

    Args:
        asked: the column of the items in the orders.

    Raises:
        InputError: (nearly) no item of the orders is in the item table, ids have lost digits, or too many rows cannot be read.
    """
    connection.execute("CREATE TEMP TABLE ordered AS SELECT DISTINCT i AS o FROM raw WHERE i IS NOT NULL")
    tokens = f"SELECT {sql.token('c0')} AS t, fault FROM ({table.rows([column])})"
    load(connection, table, "named_rows", tokens, max_bad_rows)
    connection.execute("CREATE TEMP TABLE named AS SELECT DISTINCT t FROM named_rows WHERE t IS NOT NULL")
    connection.execute("CREATE TEMP TABLE same AS SELECT o, o AS t, -1 AS way FROM ordered SEMI JOIN named ON t = o")
    total = sql.count(connection, "SELECT count(*) FROM ordered")
    for way, differ in enumerate(_WAYS):
        if sql.count(connection, "SELECT count(*) FROM same") == total:
            break
        _match(connection, way, differ, summary)
    connection.execute(
        "CREATE TABLE respelt AS SELECT t, form1(t) AS token FROM same WHERE way = 1 AND NOT regexp_full_match(t, '[0-9]+') "
        "AND regexp_full_match(form1(t), '[0-9]+') GROUP BY t"
    )
    matched = sql.count(connection, "SELECT count(*) FROM same")
    if total and matched < max(1, NEARLY_NOTHING * total):
        ours = [row[0] for row in connection.execute("SELECT o FROM ordered ANTI JOIN same USING (o) ORDER BY o LIMIT 3").fetchall()]
        theirs = [row[0] for row in connection.execute("SELECT t FROM named ORDER BY t LIMIT 3").fetchall()]
        raise InputError(
            f"{matched or 'none'} of the {total:,} items in {orders.path} {'are' if matched > 1 else 'is'} in {table.path}: the first "
            f"(column {asked}) names {listed(ours)}, ..., the second (column {column}) {listed(theirs)}, ...; use the same ids, or say "
            "which columns with --item-column"
        )
    _check_rounded(connection, "SELECT o AS id FROM ordered ANTI JOIN (SELECT o FROM same WHERE way >= 0) USING (o)", orders, asked)
    _check_rounded(connection, "SELECT t AS id FROM named ANTI JOIN (SELECT t FROM same WHERE way >= 0) USING (t)", table, column)
    connection.execute(
        "UPDATE raw SET i = m.token FROM (SELECT o, coalesce(token, t) AS token FROM same LEFT JOIN respelt USING (t)) m "
        "WHERE raw.i = m.o AND m.token <> m.o"
    )


def check_ids(connection: duckdb.DuckDBPyConnection, table: InputTable, columns: dict[str, str], item_too: bool) -> None:
    """Raises an InputError if ids of users (and of items, if no item table can tell) have lost digits."""
    _check_rounded(connection, "SELECT u AS id FROM raw", table, columns["user"])
    if item_too:
        _check_rounded(connection, "SELECT i AS id FROM raw", table, columns["item"])


def _match(connection: duckdb.DuckDBPyConnection, way: int, differ: str, summary: Summary) -> None:
    """Adds to ``same`` what has equal forms, unless several items of the item table have them. Numbers with zeros before them must be the
    only ones in the orders as well."""
    forms = f"SELECT form{way}(t) AS f, min(t) AS t, count(*) AS n FROM named GROUP BY f"
    distinct, several = connection.execute(f"SELECT count(*), count(*) FILTER (n > 1) FROM ({forms})").fetchone()
    if several > AMBIGUOUS * distinct:
        return
    once = "QUALIFY count(*) OVER (PARTITION BY f) = 1" if way == 2 else ""
    free = "ANTI JOIN same ON same.t = other.t" if way == 2 else ""
    left = f"SELECT o, form{way}(o) AS f FROM ordered ANTI JOIN same USING (o) {once}"
    right = f"SELECT f, t FROM ({forms}) WHERE n = 1"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS SELECT o, other.t FROM ({left}) JOIN ({right}) other USING (f) {free}")
    number, o, t = connection.execute("SELECT count(*), min(o), arg_min(t, o) FROM found").fetchone()
    if number:
        connection.execute(f"INSERT INTO same SELECT o, t, {way} FROM found")
        summary.notes.append(f"{number:,} item ids differ between the tables {differ} and were matched, for example {o} and {t}")


def _check_rounded(connection: duckdb.DuckDBPyConnection, query: str, table: InputTable, column: str) -> None:
    decimals, power = "length(regexp_extract(id, '\\.([0-9]+)E', 1))", "TRY_CAST(regexp_extract(id, 'E\\+([0-9]+)$', 1) AS INTEGER)"
    number, example = connection.execute(
        f"SELECT count(DISTINCT id), min(id) FROM ({query}) WHERE regexp_full_match(id, {sql.text(ROUNDED)}) AND {decimals} < {power}"
    ).fetchone()
    if number:
        raise InputError(
            f"{table.path}: the column {column} has {number:,} ids such as {example}: a spreadsheet has rounded long numbers; export the "
            "table again with this column as text"
        )
