"""Tables of JSON objects: one on each line, in an array, or in the only array of an object around them."""

import json
from itertools import islice
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.convert import open_text
from recbole_mm.data.prepare.input_table import NESTED, REJECTS, InputTable
from recbole_mm.errors import InputError

SAMPLE = 1000
"""How many objects are read for the names of the columns."""
LARGEST = 1 << 24
"""Bytes that an object may have, unless it is all that a file holds."""


def open_json(connection: duckdb.DuckDBPyConnection, path: Path, source: Path) -> InputTable:
    """Opens the table in ``source``, which is ``path`` or a rewritten copy of it.

    Raises:
        InputError: there are no objects.
    """
    with open_text(source, "utf-8-sig", errors="replace") as file:
        lines = [line for line in islice(file, SAMPLE) if line.strip()]
    first = _parsed(lines[0]) if lines else None
    if lines and lines[0].lstrip().startswith("[") or first is None or _array(first) and len(lines) == 1:
        with sql.complaints(path):
            table = _objects(connection, path, source, lines)
        if table:
            return table
    columns = dict.fromkeys(key for line in lines if isinstance(value := _parsed(line), dict) for key in value)
    if not columns:
        raise InputError(f"{path}: no JSON object in the first {SAMPLE} lines; it must hold one object per line, or an array of objects")
    options = f"columns = {{'line': 'VARCHAR'}}, header = false, delim = {sql.text(NESTED)}, quote = '', escape = '', strict_mode = false"
    return InputTable(path, "jsonl", tuple(columns), f"read_csv({sql.text(source)}, auto_detect = false, {options}, {REJECTS})")


def _objects(connection: duckdb.DuckDBPyConnection, path: Path, source: Path, lines: list[str]) -> InputTable | None:
    """Objects that are not one on each line; None if there are none."""
    if not lines or lines[0].lstrip()[0] not in "[{":
        return None
    form = "array" if lines[0].lstrip().startswith("[") else "unstructured"
    largest = LARGEST if form == "array" else max(LARGEST, source.stat().st_size + 1)
    options = f"format = '{form}', maximum_object_size = {largest}"
    scan = f"(SELECT json(json)::VARCHAR AS line FROM read_json_objects({sql.text(source)}, {options}))"
    whole = connection.execute(f"SELECT line FROM {scan} LIMIT 2").fetchall() if form == "unstructured" else []
    key = _array(_parsed(whole[0][0]) or {}) if len(whole) == 1 else None
    if key:
        path_to = sql.text("$." + json.dumps(key, ensure_ascii=False) + "[*]")
        scan = f"(SELECT unnest(json_extract(line, {path_to}))::VARCHAR AS line FROM {scan})"
    rows = connection.execute(f"SELECT line FROM {scan} LIMIT {SAMPLE}").fetchall()
    columns = dict.fromkeys(key for (line,) in rows if isinstance(value := _parsed(line), dict) for key in value)
    return InputTable(path, "json", tuple(columns), scan) if columns else None


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _array(value: object) -> str | None:
    """The key of the only array of objects in an object, for example "products" in {"products": [{...}], "count": 1}."""
    arrays = [key for key, held in value.items() if isinstance(held, list) and held and all(isinstance(one, dict) for one in held)] \
        if isinstance(value, dict) else []  # fmt: skip
    return arrays[0] if len(arrays) == 1 else None
