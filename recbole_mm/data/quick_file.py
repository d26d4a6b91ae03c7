"""Large atomic files by DuckDB's parser: every token as a number, no string per cell.

Only files without anything odd are read in this way. All others are left to ``atomic_file``, which says what is wrong and where.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureType

from recbole_mm.data.atomic_header import unquoted
from recbole_mm.data.typed_cells import is_missing

BLOCK = 2**24
Columns = dict[str, pd.Categorical | np.ndarray]
"""Columns by their names: a Categorical for tokens, -1 being a missing one, and float64 (n,) for numbers."""


def count_lines(path: Path) -> int | None:
    """How many lines a file has; None where they end in several ways, or something stands in them that is no text.

    Raises:
        OSError: it cannot be read.
    """
    feeds, returns, both, last = 0, 0, 0, b""
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            if b"\0" in block:
                return None
            feeds += block.count(b"\n")
            if b"\r" in block or last == b"\r":
                returns += block.count(b"\r")
                both += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
            last = block[-1:]
    return None if returns and not returns == both == feeds else feeds + (last != b"\n")


def read_quickly(path: Path, kinds: Mapping[str, FeatureType | None], separator: str) -> Columns | None:
    """The columns of a file.

    Args:
        kinds: the columns in the order of the file, each with TOKEN or FLOAT, or None for one that is not read.

    Returns:
        None where the file must be read by ``read_atomic_file``: a line is blank or does not fit the header, a number is missing or is
        none, the text is not UTF-8, or there are no rows.

    Raises:
        OSError: the file cannot be read.
    """
    simple = len(kinds) > 1 and re.fullmatch(r"[\t,;|]", separator) and not any(letter in str(path) for letter in "*?[")
    lines = count_lines(path) if simple else None
    if lines is None or lines < 2:
        return None
    import duckdb

    settings = {"threads": torch.get_num_threads(), "temp_directory": "", "autoinstall_known_extensions": False,
                "autoload_known_extensions": False}  # fmt: skip
    with duckdb.connect(config=settings) as connection:
        try:
            _load(connection, path, list(kinds.values()), separator)
            columns = {
                name: _tokens(connection, place) if kind == FeatureType.TOKEN else _numbers(connection, place)
                for place, (name, kind) in enumerate(kinds.items())
                if kind is not None
            }
        except duckdb.Error:
            return None
    return None if any(column is None or len(column) != lines - 1 for column in columns.values()) else columns


def _load(connection, path: Path, kinds: list[FeatureType | None], separator: str) -> None:
    """The table ``cells``. DuckDB reads underscores inside of numbers, which RecBole does not."""
    read = {FeatureType.TOKEN: "c{0}", FeatureType.FLOAT: "CASE WHEN NOT contains(c{0}, '_') THEN try_cast(c{0} AS DOUBLE) END AS c{0}"}
    wanted = ", ".join(read[kind].format(place) for place, kind in enumerate(kinds) if kind is not None)
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(kinds)))
    connection.execute(
        f"CREATE TABLE cells AS SELECT {wanted} FROM read_csv(?, delim = ?, columns = {{{columns}}}, "
        "auto_detect = false, header = false, skip = 1, quote = '', escape = '', strict_mode = true)", [str(path), separator],
    )  # fmt: skip


def _tokens(connection, place: int) -> pd.Categorical:
    """A column of tokens, whose categories are in the order of their first rows."""
    connection.execute(
        f"CREATE OR REPLACE TABLE tokens AS SELECT token, (row_number() OVER (ORDER BY first) - 1)::INTEGER AS code FROM "
        f"(SELECT c{place} AS token, min(rowid) AS first FROM cells GROUP BY c{place})"
    )
    written = [row[0] for row in connection.execute("SELECT token FROM tokens ORDER BY code").fetchall()]
    found = connection.execute(
        f"SELECT cells.rowid AS place, code FROM cells JOIN tokens ON c{place} IS NOT DISTINCT FROM token"
    ).fetchnumpy()
    codes = np.empty(len(found["code"]), dtype=np.int32)
    codes[found["place"]] = found["code"]
    tokens = pd.array([None if token is None or is_missing(token) else unquoted(token) for token in written], dtype=object)
    renamed, distinct = pd.factorize(tokens)
    if len(distinct) < len(written):
        codes = renamed.astype(np.int32)[codes]
    return pd.Categorical.from_codes(codes, pd.Index(distinct, dtype=object))


def _numbers(connection, place: int) -> np.ndarray | None:
    values = connection.execute(f"SELECT c{place} FROM cells").fetchnumpy()[f"c{place}"]
    return None if isinstance(values, np.ma.MaskedArray) and values.mask.any() or not np.isfinite(values).all() else np.asarray(values)
