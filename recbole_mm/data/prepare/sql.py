"""A DuckDB connection for one preparation, and the quoting of what goes into its SQL."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from recbole_mm.errors import InputError, one_line

# What RecBole (by pandas' defaults) reads as "no value", and its padding token: no names for a user or an item
NO_NAME = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None",
    "n/a", "nan", "null", "[PAD]",
)  # fmt: skip


@contextmanager
def connect(folder: Path, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database on disk in ``folder`` that takes up to ``memory`` ("2GB") and spills beyond it.

    Raises:
        InputError: what DuckDB raises about files and memory, on one line.
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
    """What DuckDB raises here is about this file."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        said = str(error).partition("\n\nLINE ")[0]
        raise InputError(f"{file}: cannot be read ({one_line(duckdb.Error(said))})") from error


def name(identifier: str) -> str:
    """A column's name in SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str | Path) -> str:
    """A string in SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def texts(values: tuple[str, ...]) -> str:
    return "(" + ", ".join(map(text, values)) + ")"


def token(cell: str) -> str:
    """A user's or item's name out of a cell: control characters are spaces, the ends are trimmed; NULL where nothing is left."""
    cleaned = f"trim(regexp_replace({cell}, '[\\x00-\\x20\\x7f]+', ' ', 'g'))"
    plain = f"CASE WHEN regexp_matches({cell}, '[\\x00-\\x20\\x7f]') THEN {cleaned} ELSE {cell} END"
    return f"CASE WHEN {cell} NOT IN {texts(NO_NAME)} THEN nullif({plain}, '') END"


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return connection.execute(query).fetchone()[0]
