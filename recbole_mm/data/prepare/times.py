"""Times as tables have them: numbers since 1970, dates in the order of a country, what a spreadsheet makes of them."""

from dataclasses import dataclass
from itertools import product

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.numbers import decimal_sign, number
from recbole_mm.errors import InputError, one_line

SAMPLE = 10_000
"""How many rows tell in which unit numbers are, and how dates are written."""
DAYS_1900 = 25_569
"""Days from the beginning of the calendar of spreadsheets to 1970."""
UNITS = {
    "s": ("seconds since 1970", "({} / 1e0)"),
    "ms": ("milliseconds since 1970", "({} / 1e3)"),
    "us": ("microseconds since 1970", "({} / 1e6)"),
    "ns": ("nanoseconds since 1970", "({} / 1e9)"),
    "excel": ("days of a spreadsheet", f"round(({{}} - {DAYS_1900}) * 86400)"),
}
"""What numbers may be, in words, and the SQL of the seconds since 1970."""
DAYS = (36_526, 55_153)
"""In that calendar, the days of the years 2000 to 2050."""
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Dates that are written as numbers, by their digits."""
_DATE = r"\s*[0-9]{1,2}[./-][0-9]{1,2}[./-]([0-9]{4}|[0-9]{2})([^0-9].*)?"
_CLOCKS = ["", *map("".join, product((" %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p"), ("", "%z", " %z", " %Z")))]
_NAMED = [date + clock for date in ("%d %b %Y", "%b %d %Y", "%d %B %Y", "%B %d %Y") for clock in _CLOCKS]
_NAMED += ["%b %d %H:%M:%S %Y", "%b %d %H:%M:%S %Z %Y", "%b %d %H:%M:%S %z %Y"]
HINT = "say how they are written with --time-format, for example --time-format='{}'"


@dataclass(frozen=True)
class Times:
    """How the cells of a column are read.

    Attributes:
        seconds: the SQL of the time in seconds since 1970, NULL where the cell holds none.
        said: in words, how they are read.
    """

    seconds: str
    said: str


def times(
    connection: duckdb.DuckDBPyConnection, rows: str, cell: str, column: str, unit: str, form: str | None, decimal: str | None
) -> Times:
    """Finds out how times are written. Without an offset they are in UTC.

    Args:
        rows: a query that has the ``cell``.
        unit: that of numbers, "auto" if it must be found out; "excel" for days of a spreadsheet.
        form: a format of strptime, if one was given.

    Raises:
        InputError: dates may be read in two ways, no cell holds a time, or the format is none.
    """
    if form:
        return Times(_by_format(connection, cell, form), f"written as {form}")
    value = number(cell, decimal_sign(connection, rows, cell, column, decimal))
    sample = f"(SELECT trim({cell}) AS cell, {value} AS n FROM ({rows}) WHERE trim({cell}) <> '' LIMIT {SAMPLE})"
    total, numbers, median, least, most, shortest, longest, example = connection.execute(
        f"SELECT count(*), count(n), median(abs(n)), min(n), max(n), min(length(cell)), max(length(cell)), min(cell) FROM {sample}"
    ).fetchone()
    all_numbers = total and numbers == total
    if unit == "auto" and all_numbers and shortest == longest and longest in COMPACT:
        parsed = f"try_strptime(trim({cell}), '{COMPACT[longest]}')"
        other = f"trim({cell}) <> '' AND NOT coalesce(year({parsed}) BETWEEN 1970 AND 2099, false)"
        if not sql.count(connection, f"SELECT count(*) FROM ({rows}) WHERE {other}"):
            return Times(f"epoch({parsed})", "dates without separators")
    if unit == "auto" and all_numbers and DAYS[0] <= least and most <= DAYS[1]:
        unit = "excel"
    if unit == "auto":
        size = median or 0.0
        unit = "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
    said, seconds = UNITS[unit][0], UNITS[unit][1].format(value)
    dated = f"regexp_full_match({cell}, {sql.text(_DATE)})"
    year_first = f"regexp_replace({cell}, '^\\s*([0-9]{{4}})[./]([0-9]{{1,2}})[./]', '\\1-\\2-')"
    joined = f"regexp_replace({year_first}, '\\s+([+-][0-9]{{2}}:?[0-9]{{2}})\\s*$', '\\1')"
    joined = f"regexp_replace({joined}, '([T ][0-9]{{2}}:[0-9]{{2}})(Z|[+-][0-9]{{2}}:?[0-9]{{2}})\\s*$', '\\1:00\\2')"
    tried = [seconds, f"CASE WHEN NOT {dated} THEN epoch(TRY_CAST({joined} AS TIMESTAMPTZ)) END"]
    if not all_numbers:
        dates, said_dates = _day_and_month(connection, rows, cell, column, dated)
        tried += [dates] if dates else []
        tried.append(_seconds(_spaced(cell, names=True), _NAMED))
        said = f"{said}, and {said_dates}" if numbers else said_dates
        some = f"SELECT * FROM ({rows}) WHERE trim({cell}) <> '' LIMIT {SAMPLE}"
        if total and not sql.count(connection, f"SELECT count(coalesce({', '.join(tried)})) FROM ({some})"):
            raise InputError(
                f"the column {column} has no times that can be read, only such as {example}; {HINT.format('%d.%m.%Y %H:%M')}, "
                "or leave it out with --time-column=none"
            )
    return Times(f"coalesce({', '.join(tried)})", said)


def _by_format(connection: duckdb.DuckDBPyConnection, cell: str, form: str) -> str:
    try:
        connection.execute(f"SELECT try_strptime('', {sql.text(form)})").fetchall()
    except duckdb.Error as error:
        raise InputError(f"--time-format={form}: {one_line(error)}; it must be one of strptime, such as %d.%m.%Y %H:%M") from error
    return f"epoch(try_strptime(trim({cell}), {sql.text(form)}))"


def _day_and_month(connection: duckdb.DuckDBPyConnection, rows: str, cell: str, column: str, dated: str) -> tuple[str, str]:
    """The SQL of the seconds of dates such as 12.03.2024, and how they are read, in words. A number above 12 is a day.

    Raises:
        InputError: there is no such number, one in either place, or the year may come first.
    """
    parts = f"regexp_extract_all({cell}, '[0-9]+')"
    dates, first, second, unclear, example = connection.execute(
        f"SELECT count(*), max({parts}[1]::INTEGER), max({parts}[2]::INTEGER), count(*) FILTER (length({parts}[3]) = 2 "
        f"AND contains({cell}, '-')), min({cell}) FROM ({rows}) WHERE {dated}"
    ).fetchone()
    if not dates:
        return "", "dates"
    sign = next((sign for sign in "./-" if sign in example), "/")
    how = f"{HINT.format(f'%d{sign}%m{sign}%Y')} or '%m{sign}%d{sign}%Y'"
    if unclear:
        raise InputError(f"the column {column} has dates such as {example}, and the year may be the first or last number; {how}")
    if (first > 12) == (second > 12):
        why = "no number above 12 tells the day from the month" if first <= 12 else "numbers above 12 are in both places"
        raise InputError(f"the column {column} has dates such as {example}, but {why}; {how}")
    date, spaced = "%d/%m/" if first > 12 else "%m/%d/", _spaced(cell)
    years = [_seconds(spaced, [f"{date}{year}{clock}" for clock in _CLOCKS]) for year in ("%Y", "%y")]
    read = f"CASE WHEN length({parts}[3]) = 4 THEN {years[0]} ELSE {years[1]} END"
    return read, f"dates with the {'day' if first > 12 else 'month'} first"


def _spaced(cell: str, names: bool = False) -> str:
    """The SQL of a cell in which dates have slashes between numbers, or with ``names`` of months spaces, and AM and PM have no points."""
    steps = [("([0-9])\\s*([APap])[.]?\\s*([Mm])[.]?\\s*$", "\\1 \\2\\3")]
    if names:
        steps += [("^(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*[,.]?\\s+", ""), ("([0-9])(?:st|nd|rd|th)\\b", "\\1"), ("([A-Za-z])[.]", "\\1"),
                  ("([0-9])-([A-Za-z])", "\\1 \\2"), ("([A-Za-z])-([0-9])", "\\1 \\2")]  # fmt: skip
    else:
        steps += [("^([0-9]+)[./-]([0-9]+)[./-]", "\\1/\\2/"), ("([0-9])T([0-9])", "\\1 \\2")]
    cleaned = f"trim({cell})"
    for pattern, to in [*steps, ("[, ]+", " ")]:
        cleaned = f"regexp_replace({cleaned}, {sql.text(pattern)}, {sql.text(to)}, 'g')"
    return cleaned


def _seconds(cell: str, forms: list[str]) -> str:
    """The SQL of the time in a cell that has one of several formats. DuckDB takes formats with names of zones only by themselves."""
    zoned = [form for form in forms if "%Z" in form], [form for form in forms if "%Z" not in form]
    tried = [f"epoch(try_strptime({cell}, [{', '.join(map(sql.text, some))}]))" for some in reversed(zoned) if some]
    return f"coalesce({', '.join(tried)}, NULL)"
