"""Further columns of the item table, such as a category and a price, which are carried into the item file as they are."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.input_table import NESTED
from recbole_mm.data.prepare.numbers import decimal_sign, number
from recbole_mm.data.text import clean_text
from recbole_mm.errors import InputError

TAKEN = ("item_id", "title", "description", "image", "user_id", "rating", "timestamp", "label")
"""Names that mean something else in a data set of RecBole."""


@dataclass(frozen=True)
class KeptColumn:
    """A column that is carried along.

    Attributes:
        header: its header cell in the item file, for example ``price:float``.
        sign: for numbers, see ``decimal_sign``.
    """

    header: str
    sign: str = ""

    def text(self, cell: str | None) -> str:
        """A cell as it is written in the item file."""
        kind, cell = self.header.rpartition(":")[2], cell or ""
        if cell in sql.NO_NAME:
            return ""
        if kind.endswith("_seq"):
            values = json.loads(cell[1:]) if cell.startswith(NESTED) else []
            return " ".join("_".join(clean_text(str(value)).split()) for value in values if value not in (None, ""))
        if kind == "float":
            other = "," if self.sign == "." else "."
            return re.sub(r"[\s']", "", cell.replace(other, "").replace(",", ".")) if self.sign else cell.strip()
        return clean_text(cell.removeprefix(NESTED))


def kept_columns(
    connection: duckdb.DuckDBPyConnection, loaded: Sequence[str], wanted: Sequence[str], decimal: str | None
) -> dict[str, KeptColumn]:
    """What becomes of each wanted column, by its name: numbers are ``float``, lists ``token_seq`` or ``float_seq``, all else ``token``.

    Args:
        loaded: the columns of the table ``meta``, c0, c1, ...
        decimal: what ``--decimal`` says.

    Raises:
        InputError: numbers may be read in two ways, or a column is empty.
    """
    kept: dict[str, KeptColumn] = {}
    for column in wanted:
        cell = f"c{loaded.index(column)}"
        rows = f"SELECT {cell} FROM meta WHERE coalesce({cell}, '') NOT IN {sql.texts(sql.NO_NAME)}"
        kind, sign = "token", decimal_sign(connection, rows, cell, column, decimal)
        total, numbers, lists, number_lists = connection.execute(
            f"SELECT count(*), count({number(cell, sign)}) FILTER (NOT regexp_matches({cell}, '^\\s*-?0[0-9]')), "
            f"count(*) FILTER (starts_with({cell}, {sql.text(NESTED + '[')})), count(*) FILTER (regexp_full_match({cell}, "
            f"{sql.text(NESTED)} || '\\[[-+0-9.eE, ]*\\]')) FROM ({rows})"
        ).fetchone()
        if not total:
            raise InputError(f"--keep-columns: the column {column} is empty for every item that is kept")
        if numbers == total:
            kind = "float"
        elif lists == total:
            kind = "float_seq" if number_lists == total else "token_seq"
        name = re.sub(r"[\s:]+", "_", column.strip())
        kept[column] = KeptColumn(f"{'item_' * (name in TAKEN)}{name}:{kind}", sign)
    return kept
