"""Numbers as people write them: with a point or a comma before the decimals, and signs between the thousands."""

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.errors import InputError

SAMPLE = 100_000
"""How many rows tell how numbers are written."""
PLAIN = "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) THEN TRY_CAST({0} AS DOUBLE) END"
LIKE_NUMBERS = r"\s*[-+]?[0-9][0-9.,' \x{a0}\x{202f}]*\s*"


def number(cell: str, decimal: str = "") -> str:
    """The SQL of the number in a cell, NULL for anything else.

    Args:
        decimal: "." or ",", where the other one and spaces may stand between thousands; "" where there are no such signs.
    """
    if not decimal:
        return PLAIN.format(cell)
    bare = f"regexp_replace({cell}, '[{',' if decimal == '.' else '.'}'' \\x{{a0}}\\x{{202f}}]', '', 'g')"
    return PLAIN.format(f"replace({bare}, ',', '.')" if decimal == "," else bare)


def decimal_sign(connection: duckdb.DuckDBPyConnection, rows: str, cell: str, column: str, given: str | None) -> str:
    """What stands before the decimals in the cells of a column: what ``--decimal`` says, or else what the first ones with a comma show. ""
    if none has one.

    Raises:
        InputError: the numbers may be read in two ways, or in none.
    """
    if given:
        return given

    def last(sign: str) -> str:
        return f"CASE WHEN contains({cell}, '{sign}') THEN length({cell}) - strpos(reverse({cell}), '{sign}') ELSE -1 END"

    like = f"regexp_full_match({cell}, {sql.text(LIKE_NUMBERS)}) AND contains({cell}, ',')"
    comma_last, point_last, short, many, thousands, example = connection.execute(
        "SELECT count(*) FILTER (p >= 0 AND k > p), count(*) FILTER (p > k), count(*) FILTER (p < 0 AND n = 1 AND NOT three), "
        "count(*) FILTER (p < 0 AND n > 1), count(*) FILTER (p < 0 AND n = 1 AND three), min(cell) FROM (SELECT "
        f"{cell} AS cell, {last(',')} AS k, {last('.')} AS p, length({cell}) - length(replace({cell}, ',', '')) AS n, "
        f"regexp_matches({cell}, ',[0-9]{{3}}\\s*$') AS three FROM (SELECT * FROM ({rows}) LIMIT {SAMPLE}) WHERE {like})"
    ).fetchone()
    comma, point = comma_last + short, point_last + many
    if comma and point or thousands and not comma and not point:
        raise InputError(
            f"the column {column} has numbers such as {example}, which may be read in two ways; say what stands before the decimals with "
            "--decimal=, or --decimal=."
        )
    return "," if comma else "." if point else ""
