"""The DuckDB connection of a preparation, and the quoting of names and values in SQL."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from recbole_mm.errors import InputError, one_line

NO_NAME = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None",
    "n/a", "nan", "null", "[PAD]", "\\N",
)  # fmt: skip
"""What cannot be the token of a user or item: what RecBole reads as a missing value (pandas' defaults), its padding token, and
what databases export for a missing value."""


@contextmanager
def connect(folder: Path, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a database in ``folder`` that uses up to ``memory`` (for example "2GB") and the disk beyond that.

    Raises:
        InputError: what DuckDB raises about files and memory, in one line.
    """
    settings = {"temp_directory": str(folder / "spill"), "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    try:
        with duckdb.connect(str(folder / "prepare.duckdb"), config=settings) as connection:
            connection.execute(f"SET memory_limit = {text(memory)}")
            connection.execute("SET TimeZone = 'UTC'")
            if sys.stderr.isatty() and sys.stdout.isatty():
                connection.execute("SET enable_progress_bar = true")
            yield connection
    except duckdb.OutOfMemoryException as error:
        raise InputError(f"not enough memory or disk: raise --memory ({one_line(error)})") from error
    except duckdb.Error as error:
        raise InputError(one_line(error, 400)) from error


@contextmanager
def complaints(file: Path) -> Iterator[None]:
    """Turns what DuckDB raises within the ``with`` into an InputError about this file."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        said = str(error).partition("\n\nLINE ")[0]
        raise InputError(f"{file}: cannot be read ({one_line(duckdb.Error(said))})") from error


def name(identifier: str) -> str:
    """The name of a column, quoted for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str | Path) -> str:
    """A string, quoted for SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def texts(values: tuple[str, ...]) -> str:
    """A list of strings, quoted for SQL."""
    return "(" + ", ".join(map(text, values)) + ")"


def token(cell: str) -> str:
    """The SQL of a user's or item's token in a cell: control characters become spaces, the ends are trimmed; NULL if nothing is left."""
    cleaned = f"trim(regexp_replace({cell}, '[\\x00-\\x20\\x7f]+', ' ', 'g'))"
    plain = f"CASE WHEN regexp_matches({cell}, '[\\x00-\\x20\\x7f]') THEN {cleaned} ELSE {cell} END"
    return f"CASE WHEN {cell} NOT IN {texts(NO_NAME)} THEN nullif({plain}, '') END"


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query gives."""
    return connection.execute(query).fetchone()[0]
