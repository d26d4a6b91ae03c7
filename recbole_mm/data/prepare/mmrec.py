"""An MMRec folder: its split becomes RecBole benchmark files, and its features get the tokens of their rows."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import settings_file, sql
from recbole_mm.data.prepare.columns import find_column, need_column
from recbole_mm.data.prepare.files import find_files
from recbole_mm.data.prepare.folder_items import write_folder_items
from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.data.prepare.interactions import write_interactions
from recbole_mm.data.prepare.load import load
from recbole_mm.data.prepare.numbers import number as number_in
from recbole_mm.data.prepare.open_table import open_table
from recbole_mm.data.prepare.options import Options
from recbole_mm.data.prepare.ready_features import find_features, write_features
from recbole_mm.data.prepare.source import SOURCES, Layout
from recbole_mm.data.prepare.summary import Summary, Table
from recbole_mm.errors import InputError, listed

PARTS = ("train", "valid", "test")
LABEL = "x_label"


def prepare_mmrec(connection: duckdb.DuckDBPyConnection, options: Options, part: Path, scratch: Path, summary: Summary) -> None:
    """Fills the folder ``part``: ``<name>.train.inter`` and so on, ``<name>.item``, ``<modality>.safetensors`` and ``<name>.yaml``.

    Raises:
        InputError: the folder or the interaction file is missing, a column or a number is missing, or the features do not fit the items.
    """
    if options.k_core or options.min_rating is not None or options.where:
        raise InputError("--source=mmrec keeps the split of the folder, so --k-core, --min-rating and --where cannot be used with it")
    if options.input is None:
        raise InputError("--source=mmrec needs --input=FOLDER")
    source, folder, name = SOURCES["mmrec"], options.input, options.output.absolute().name
    table = open_table(connection, [_interaction_file(options)], source.interactions[0], scratch, options.encoding)
    _load_interactions(connection, table, options, summary)
    mapped = {side: _load_mapping(connection, folder, side, scratch) for side in ("u", "i")}
    _check_numbers(connection, mapped, table.path)
    count = mapped["i"] or sql.count(connection, "SELECT max(i) + 1 FROM raw")
    features, count = find_features(folder, count, bool(mapped["i"]), summary)
    _replace_numbers(connection, mapped, count)
    tokens = [row[0] for row in connection.execute("SELECT i FROM chosen ORDER BY n").fetchall()]
    files = write_features(features, part, tokens)

    summary.interactions, summary.users, summary.items = connection.execute(
        "SELECT count(*), count(DISTINCT u), count(DISTINCT i) FROM raw"
    ).fetchone()
    present = [role for role in ("rating", "time") if role in summary.columns]
    for label, split in enumerate(PARTS):
        write_interactions(connection, part / f"{name}.{split}.inter", "rating" in present, "time" in present, f"raw.label = {label}")
        summary.parts[split] = sql.count(connection, f"SELECT count(*) FROM raw WHERE label = {label}")
    write_folder_items(connection, SOURCES["mmrec"], "itemID", options, part / f"{name}.item", scratch, summary)
    settings_file.write_settings(part / f"{name}.yaml", _settings(present, files, summary))


def _settings(present: list[str], files: dict[str, str], summary: Summary) -> Iterator[settings_file.Setting]:
    load = ["user_id", "item_id", *["rating"] * ("rating" in present), *["timestamp"] * ("time" in present)]
    yield from settings_file.fields(present)
    yield "benchmark_filename", list(PARTS), "The split of the folder."
    yield "load_col", {"inter": load, "item": ["item_id"]}, "Every item of the features is in the catalogue."
    yield "mask_valid_items", False, "MMRec's protocol: the test masks only what is known from training,"
    yield "negative_items", "training", "and negatives have interactions in training."
    if files:
        yield "feature_files", files, "Ready-made features, by modality."
    described = len(summary.text_columns) > 1 if summary.text_columns else None
    yield from settings_file.content(described, summary.items_with_picture > 0)


def is_mmrec(options: Options) -> bool:
    """Whether an input folder of Amazon data was prepared by MMRec: it has a ``.inter`` file and no reviews."""
    folder = options.input
    return folder is not None and options.interactions is None and any(folder.glob("*.inter")) and not any(folder.glob("reviews_*"))


def _interaction_file(options: Options) -> Path:
    """The interaction file: the one that is given, or the one named after the folder, or the only one."""
    own = options.input / f"{options.input.absolute().name}.inter"
    if options.interactions is None and own.is_file():
        return own
    found = find_files(options.input, SOURCES["mmrec"].interactions, options.interactions, "--interactions")
    if found is None:
        raise InputError(f"{options.input} has no *.inter file; give it as --interactions=FILE")
    return found[0][0]


def _load_interactions(connection: duckdb.DuckDBPyConnection, table: InputTable, options: Options, summary: Summary) -> None:
    source = SOURCES["mmrec"]
    asked = {"user": options.user_column, "item": options.item_column, "rating": options.rating_column, "time": options.time_column}
    known = {"user": source.user, "item": source.item, "rating": source.rating, "time": source.time}
    found = {role: find_column(role, table.columns, table.path, asked[role], known[role]) for role in asked}
    for role in ("user", "item"):
        need_column(role, table.columns, table.path, found[role])
    if LABEL not in table.columns:
        had = listed(table.columns)
        raise InputError(f"{table.path} has no column {LABEL} (0 train, 1 valid, 2 test), only {had}; --source=files reads such a file")
    columns = {role: column for role, column in found.items() if column} | {"label": LABEL}
    cells = {role: f"c{n}" for n, role in enumerate(columns)}
    numbers = {role: number_in(cells[role]) if role in cells else "NULL::DOUBLE" for role in ("rating", "time")}
    whole = {role: f"TRY_CAST(TRY_CAST({cells[role]} AS DOUBLE) AS INTEGER)" for role in ("user", "item", "label")}
    fault = (
        f"CASE WHEN coalesce({whole['user']}, -1) < 0 THEN 'no user number' WHEN coalesce({whole['item']}, -1) < 0 "
        f"THEN 'no item number' WHEN coalesce({whole['label']}, -1) NOT BETWEEN 0 AND 2 THEN 'x_label is none of 0, 1, 2' END"
    )
    query = (
        f"SELECT {whole['user']} AS u, {whole['item']} AS i, {numbers['rating']} AS rating, {numbers['time']} AS time, "
        f"{whole['label']} AS label, coalesce(fault, {fault}) AS fault FROM ({table.rows(list(columns.values()))})"
    )
    loaded = load(connection, table, "raw", query, 0.0)
    summary.rows, summary.columns = loaded.rows, columns
    summary.tables.append(Table.of(table, loaded.rows, columns))
    connection.execute("DELETE FROM raw WHERE fault IS NOT NULL")


def _load_mapping(connection: duckdb.DuckDBPyConnection, folder: Path, side: str, scratch: Path) -> int:
    """Creates the table ``map_u`` or ``map_i`` (number, token) from the mapping file of the folder, and returns its number of rows, 0 if
    there is no such file.

    Raises:
        InputError: a number or token is missing or is there twice, or the numbers do not run from 0.
    """
    file, number = folder / f"{side}_id_mapping.csv", {"u": "userID", "i": "itemID"}[side]
    if not file.is_file():
        connection.execute(f"CREATE TABLE map_{side} (number INTEGER, token VARCHAR)")
        return 0
    table = open_table(connection, [file], Layout(file.name), scratch)
    if len(table.columns) < 2 or number not in table.columns:
        raise InputError(f"{file} must have the columns {number} and the original name; it has {listed(table.columns)}")
    other = next(column for column in table.columns if column != number)
    query = (
        f"SELECT TRY_CAST(c0 AS INTEGER) AS number, {sql.token('c1')} AS token, coalesce(fault, CASE WHEN TRY_CAST(c0 AS INTEGER) IS NULL "
        f"THEN 'no number' WHEN {sql.token('c1')} IS NULL THEN 'no name' END) AS fault FROM ({table.rows([number, other])})"
    )
    rows = load(connection, table, f"map_{side}", query, 0.0).rows
    for column in ("number", "token"):
        repeated = f"SELECT {column} FROM map_{side} GROUP BY 1 HAVING count(*) > 1"
        twice = connection.execute(f"SELECT min({column}) FROM ({repeated})").fetchone()[0]
        if twice is not None:
            raise InputError(f"{file}: {twice} is there more than once")
    if sql.count(connection, f"SELECT count(*) FROM map_{side} WHERE number NOT BETWEEN 0 AND {rows - 1}"):
        raise InputError(f"{file}: the numbers of {number} do not run from 0 to {rows - 1}")
    return rows


def _check_numbers(connection: duckdb.DuckDBPyConnection, mapped: dict[str, int], file: Path) -> None:
    for side in ("u", "i"):
        if mapped[side]:
            lost = connection.execute(f"SELECT min(raw.{side}) FROM raw ANTI JOIN map_{side} ON number = raw.{side}").fetchone()[0]
            if lost is not None:
                raise InputError(f"{file}: number {lost} is not in {side}_id_mapping.csv")


def _replace_numbers(connection: duckdb.DuckDBPyConnection, mapped: dict[str, int], count: int) -> None:
    """Replaces the numbers in ``raw`` by tokens, and creates ``chosen`` (i, n), all items by their numbers, and ``kept``."""
    items = "SELECT token AS i, number AS n FROM map_i" if mapped["i"] else f"SELECT range::VARCHAR AS i, range AS n FROM range({count})"
    connection.execute(f"CREATE TABLE chosen AS {items}")
    names = [f"coalesce(map_{side}.token, raw.{side}::VARCHAR) AS {side}" for side in ("u", "i")]
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(
        f"CREATE TABLE named AS SELECT {names[0]}, {names[1]}, rating, time, label FROM raw LEFT JOIN map_u ON map_u.number = raw.u "
        "LEFT JOIN map_i ON map_i.number = raw.i"
    )
    connection.execute("DROP TABLE raw")
    connection.execute("ALTER TABLE named RENAME TO raw")
    connection.execute("CREATE TABLE kept AS SELECT rowid AS r, time FROM raw")
