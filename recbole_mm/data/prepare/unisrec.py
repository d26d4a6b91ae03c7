"""A UniSRec or MISSRec folder: its rows of histories become interactions in order, and its features get the tokens of their rows."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from recbole_mm.data.prepare import settings_file, sql
from recbole_mm.data.prepare.files import find_files
from recbole_mm.data.prepare.folder_items import write_folder_items
from recbole_mm.data.prepare.input_table import InputTable
from recbole_mm.data.prepare.interactions import write_interactions
from recbole_mm.data.prepare.load import load, not_utf8
from recbole_mm.data.prepare.open_table import open_table
from recbole_mm.data.prepare.options import Options
from recbole_mm.data.prepare.ready_features import write_table
from recbole_mm.data.prepare.sequences import Row, Sequences, sequences_of
from recbole_mm.data.prepare.source import SOURCES
from recbole_mm.data.prepare.summary import Summary, Table
from recbole_mm.errors import InputError, listed

PARTS = ("train", "valid", "test")
COLUMNS = {"user": "user_id", "history": "item_id_list", "item": "item_id"}
MODALITIES = {"feat1": "text", "feat3": "image"}
"""What begins the ending of a feature file, and what it is about. Others are left out: feat2 has texts without some of their words."""


def prepare_unisrec(connection: duckdb.DuckDBPyConnection, options: Options, part: Path, scratch: Path, summary: Summary) -> None:
    """Fills the folder ``part``: ``<name>.inter``, ``<name>.item``, ``<modality>.safetensors`` and ``<name>.yaml``.

    Raises:
        InputError: a file or a column is missing, an item has no name, or the features do not fit the items.
    """
    refused = {"--k-core": options.k_core, "--min-rating": options.min_rating is not None, "--where": options.where,
               "--interactions": options.interactions}  # fmt: skip
    if any(refused.values()):
        raise InputError(f"--source=unisrec keeps the sequences of the folder, so {', '.join(refused)} cannot be used with it")
    if options.input is None:
        raise InputError("--source=unisrec needs --input=FOLDER")
    files = _part_files(options)
    stem, name = files["train"].name.removesuffix(".train.inter"), options.output.absolute().name
    found = sequences_of([_rows(connection, files[of], scratch / of, summary) for of in PARTS])
    names = {side: _names(options.input / f"{stem}.{side}2index") for side in ("user", "item")}
    numbers = list(dict.fromkeys(item for items in found.items.values() for item in items))
    _create_tables(connection, found, names, numbers, files["train"])
    features = _write_features(options.input, stem, names["item"], numbers, part, summary)

    summary.interactions, summary.users, summary.items = connection.execute(
        "SELECT count(*), count(DISTINCT u), count(DISTINCT i) FROM raw"
    ).fetchone()
    write_interactions(connection, part / f"{name}.inter", has_rating=False, has_time=True)
    write_folder_items(connection, SOURCES["unisrec"], COLUMNS["item"], options, part / f"{name}.item", scratch, summary)
    _tell(found, summary)
    settings_file.write_settings(part / f"{name}.yaml", _settings(features, summary))


def _part_files(options: Options) -> dict[str, Path]:
    folder = options.input
    own = folder / f"{folder.absolute().name}.train.inter"
    found = ((own,), None) if own.is_file() else find_files(folder, SOURCES["unisrec"].interactions, None, "--input")
    if found is None:
        raise InputError(f"{folder} has no *.train.inter; --source=unisrec reads <name>.train.inter, .valid.inter and .test.inter")
    stem = found[0][0].name.removesuffix("train.inter")
    files = {of: folder / f"{stem}{of}.inter" for of in PARTS}
    absent = [file.name for file in files.values() if not file.is_file()]
    if absent:
        raise InputError(f"{folder} has no {' and no '.join(absent)}; --source=unisrec reads the three parts of the split")
    return files


def _rows(connection: duckdb.DuckDBPyConnection, file: Path, scratch: Path, summary: Summary) -> list[Row]:
    scratch.mkdir()
    table: InputTable = open_table(connection, [file], SOURCES["unisrec"].interactions[0], scratch)
    absent = [column for column in COLUMNS.values() if column not in table.columns]
    if absent:
        raise InputError(f"{file} has no column {listed(absent)}; it has {listed(table.columns)}")
    user, item = sql.token("c0"), sql.token("c2")
    fault = (
        f"CASE WHEN {user} IS NULL THEN 'no user' WHEN {item} IS NULL THEN 'no item' WHEN coalesce(trim(c1), '') = '' THEN 'no history' END"
    )
    query = f"SELECT {user} AS u, c1 AS history, {item} AS i, coalesce(fault, {fault}) AS fault FROM ({table.rows(list(COLUMNS.values()))})"
    into = f"rows_{len(summary.tables)}"
    loaded = load(connection, table, into, query, 0.0)
    summary.rows += loaded.rows
    summary.columns = COLUMNS
    summary.tables.append(Table.of(table, loaded.rows, COLUMNS))
    rows = connection.execute(f"SELECT u, history, i FROM {into} WHERE fault IS NULL ORDER BY rowid").fetchall()
    connection.execute(f"DROP TABLE {into}")
    return [(user, tuple(history.split()), item) for user, history, item in rows]


def _names(file: Path) -> dict[str, str]:
    """What the numbers of users or items stand for; {} without the file.

    Raises:
        InputError: a line has no name and number, or one of them is there twice.
    """
    found: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except UnicodeDecodeError as error:
        raise not_utf8(file) from error
    for place, line in enumerate(filter(str.strip, lines), 1):
        name, _, number = line.strip().rpartition("\t")
        if not (name and number.isdecimal()):
            raise InputError(f"{file} line {place}: {line.strip()[:60]!r} is no name and number with a tab between them")
        if number in found:
            raise InputError(f"{file}: number {number} is there more than once")
        found[number] = name
    if len(set(found.values())) < len(found):
        raise InputError(f"{file}: a name is there more than once")
    return found


def _create_tables(
    connection: duckdb.DuckDBPyConnection, found: Sequences, names: Mapping[str, Mapping[str, str]], numbers: list[str], file: Path
) -> None:
    """Creates ``raw`` and ``kept``, the interactions with their places as times, and ``chosen`` (i, n), the items by their numbers."""
    for side, tokens in (("user", found.items), ("item", numbers)):
        lost = next((token for token in tokens if names[side] and token not in names[side]), None)
        if lost is not None:
            raise InputError(f"{file} and the other parts: {side} {lost} is not in {file.name.removesuffix('train.inter')}{side}2index")
    users, items = names["user"], names["item"]
    table = pd.DataFrame(
        [(users.get(user, user), items.get(item, item), place) for user, own in found.items.items() for place, item in enumerate(own)],
        columns=["u", "i", "time"],
    )
    order = sorted(numbers, key=lambda number: (len(number), number))
    chosen = pd.DataFrame({"i": [items.get(number, number) for number in order], "n": range(len(order))})
    connection.execute("SET preserve_insertion_order = true")
    for name, query, frame in (
        ("raw", "SELECT u, i, NULL::DOUBLE AS rating, time::DOUBLE AS time FROM given", table),
        ("chosen", "SELECT i, n FROM given", chosen),
    ):
        connection.register("given", frame)
        connection.execute(f"CREATE TABLE {name} AS {query}")
        connection.unregister("given")
    connection.execute("CREATE TABLE kept AS SELECT rowid AS r, time FROM raw")


def _write_features(folder: Path, stem: str, names: Mapping[str, str], numbers: list[str], part: Path, summary: Summary) -> dict[str, str]:
    """Writes the features as safetensors. A row of zeros stands for an item that lacks the modality, and is left out.

    Returns:
        Modality -> file name.

    Raises:
        InputError: the items are no numbers, or a file has another number of rows.
    """
    files, written = sorted(folder.glob(f"{stem}.feat*")), {}
    known = list(names) or numbers
    if files and not all(map(str.isdecimal, known)):
        raise InputError(
            f"{files[0]}: row i belongs to item number i, and items have names here; add {stem}.item2index, or remove the file"
        )
    count = max(map(int, known)) + 1
    tokens = [names.get(str(number), str(number)) for number in range(count)]
    for file in files:
        modality = MODALITIES.get(file.suffix[1:6])
        if modality is None or modality in written:
            summary.notes.append(f"left out: {file.name}")
            continue
        width, rest = divmod(file.stat().st_size, 4 * count)
        if rest or not width:
            raise InputError(f"{file} has {file.stat().st_size:,} bytes, which are no float32 numbers of {count:,} items")
        table = np.fromfile(file, dtype=np.float32).reshape(count, width)
        present = np.flatnonzero(table.any(axis=1))
        written[modality] = write_table(file, table[present], part / f"{modality}.safetensors", [tokens[row] for row in present])
        summary.features[modality] = [len(present), width]
    return written


def _tell(found: Sequences, summary: Summary) -> None:
    if found.cut:
        summary.notes.append(f"{found.cut:,} users have the last part of their sequence alone, because their rows do not follow each other")
    if found.split_otherwise:
        summary.warnings.append(
            f"{found.split_otherwise:,} users are not split by leaving one out in these files; they are in what is made of it"
        )


def _settings(features: Mapping[str, str], summary: Summary) -> Iterator[settings_file.Setting]:
    yield "USER_ID_FIELD", "user_id", "Who"
    yield "ITEM_ID_FIELD", "item_id", "took what"
    yield "TIME_FIELD", "timestamp", "in which place of a sequence."
    split = {"split": {"LS": "valid_and_test"}, "order": "TO"}
    yield "eval_args", split, "The split of the folder: a user's last item is the test, the one before it the validation."
    if features:
        yield (
            "feature_files",
            dict(features),
            "Ready-made features, by modality. Without them (feature_files: ~) an encoder reads the texts.",
        )
    yield from settings_file.content(False if summary.items_with_text else None, summary.items_with_picture > 0)
