"""Input tables of any common kind as SQL: the wanted columns as text, and what is wrong with a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.data.prepare import sql

NESTED = "\x01"
"""Stands before a cell that is a list or object, given as JSON."""
REJECTS = "store_rejects = true, rejects_limit = 100000"


@dataclass(frozen=True)
class InputTable:
    """A file with a table, or several with one.

    Attributes:
        path: the file, as it was named.
        kind: "csv", "tsv", "jsonl" (an object on each line), "json" (objects in any other way) or "parquet".
        columns: the names of the columns.
        scan: the SQL that reads the file.
        nested: the columns whose cells are lists or objects.
        quote: the character that quotes cells.
        ignored: columns that are none, such as an index without a name.
        cut: how many lines before the header are not read.
        first_line: the number of the first line that is a row.
        parts: the tables of several files that are read one after another.
    """

    path: Path
    kind: str
    columns: tuple[str, ...]
    scan: str
    nested: frozenset[str] = frozenset()
    quote: str = ""
    ignored: tuple[str, ...] = ()
    cut: int = 0
    first_line: int = 1
    parts: tuple["InputTable", ...] = ()

    def rows(self, columns: Sequence[str]) -> str:
        """A query over the file, in its order. Its columns are ``c0``, ``c1``, ... (the wanted ones, as text) and ``fault``, which is NULL
        for a good row, "" for a blank line, and otherwise says what is wrong. Lists and objects are JSON behind ``NESTED``."""
        if self.parts:
            return " UNION ALL ".join(f"({part.rows(columns)})" for part in self.parts)
        if self.kind in ("jsonl", "json"):
            return self._json_rows(columns)
        cells = "".join(f", {self._cell(column)} AS c{i}" for i, column in enumerate(columns))
        return f"SELECT NULL::VARCHAR AS fault{cells} FROM {self.scan}"

    def _cell(self, column: str) -> str:
        name = sql.name(column)
        return f"{sql.text(NESTED)} || to_json({name})::VARCHAR" if column in self.nested else f"{name}::VARCHAR"

    def _json_rows(self, columns: Sequence[str]) -> str:
        paths = ", ".join(sql.text("/" + column.replace("~", "~0").replace("/", "~1")) for column in columns)
        valid = "CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line END"
        cells = "".join(
            f", CASE WHEN k[{i}] IN ('ARRAY', 'OBJECT') THEN {sql.text(NESTED)} || v[{i}] ELSE v[{i}] END AS c{i - 1}"
            for i in range(1, len(columns) + 1)
        )
        fault = "CASE WHEN good IS NOT NULL THEN NULL WHEN trim(coalesce(line, ''), E' \\t\\r') = '' THEN '' ELSE 'no JSON object' END"
        return (
            f"SELECT {fault} AS fault{cells} FROM (SELECT line, good, json_extract_string(good, [{paths}]) AS v, "
            f"json_type(good, [{paths}]) AS k FROM (SELECT line, {valid} AS good FROM {self.scan}))"
        )

    def row_name(self, row: int, exact: bool) -> str:
        """Where in the file a row (counted from 0) is: its line, if that is known ``exact``ly, or else its number."""
        if self.parts:
            return f"(and {len(self.parts) - 1} more files) row {row + 1}"
        return f"line {row + self.first_line}" if exact and self.kind not in ("parquet", "json") else f"row {row + 1}"
