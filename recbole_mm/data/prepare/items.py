"""Items: the texts and pictures of those that are kept, cleaned and written as an atomic file. Other columns and items are not loaded."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from tqdm import tqdm

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.columns import candidates, find_column, instead_of, named_columns, need_column, text_columns
from recbole_mm.data.prepare.input_table import NESTED, InputTable
from recbole_mm.data.prepare.kept_columns import kept_columns
from recbole_mm.data.prepare.load import load
from recbole_mm.data.prepare.options import Options
from recbole_mm.data.prepare.pictures import Pictures
from recbole_mm.data.prepare.same_items import best_item_column
from recbole_mm.data.prepare.source import Source
from recbole_mm.data.prepare.summary import Summary, Table
from recbole_mm.data.text import clean_text, join_fields
from recbole_mm.errors import InputError, listed

CHUNK = 10_000
SENTENCES = ("description", "feature", "features", "text")
"""Columns whose lists hold sentences; the lists of others hold names."""


@dataclass(frozen=True)
class ItemColumns:
    """The columns of an item table that are wanted.

    Attributes:
        item: the item's token.
        texts: its texts, the title first.
        image: the path of its picture.
        extra: further columns that the kind of source has, by their header cell in the item file.
        keep: further columns that are carried along.
    """

    item: str
    texts: tuple[str, ...]
    image: str | None
    extra: dict[str, str]
    keep: tuple[str, ...] = ()

    def all(self) -> list[str]:
        return list(dict.fromkeys([self.item, *self.texts, *([self.image] if self.image else []), *self.extra.values(), *self.keep]))


def item_columns(
    connection: duckdb.DuckDBPyConnection, table: InputTable, source: Source, options: Options, item_column: str
) -> ItemColumns:
    """Finds the columns of the item table. The one of the item is called as in the interactions, or has a common name; of several such
    columns it is the one that holds most of the items of the interactions.

    Raises:
        InputError: no column could be meant, or one that was asked for is missing.
    """
    given = options.item_column if options.item_column in table.columns else source.item_key
    possible = [name for name in (item_column,) if name in table.columns] + candidates("item", table.columns, more="id")
    possible = [given] if given in table.columns else list(dict.fromkeys(possible))
    item = best_item_column(connection, table, possible) if len(possible) > 1 else next(iter(possible), None)
    need_column("item", table.columns, table.path, item)
    image = None
    if options.image_column is not None or not source.text:
        image = find_column("image", table.columns, table.path, options.image_column, None)
    texts = text_columns(table.columns, table.path, options.text_columns, source.text)
    extra = {header: column for header, (column, _) in source.extra.items() if column in table.columns}
    keep = named_columns("--keep-columns", table.columns, table.path, options.keep_columns)
    return ItemColumns(item, tuple(texts), image, extra, tuple(keep))


def choose_items(connection: duckdb.DuckDBPyConnection, all_of_them: bool, summary: Summary) -> None:
    """Creates the table ``chosen`` (i, n) of the items that are written, sorted by token: those with interactions, and with ``all_of_them``
    all others of the item table."""
    ordered = "SELECT i FROM items WHERE rowid IN (SELECT iid FROM kept)"
    others = "SELECT coalesce(token, t) AS i FROM named LEFT JOIN respelt USING (t)"
    every = f"{ordered} UNION {others}" if all_of_them else ordered
    connection.execute(f"CREATE TABLE chosen AS SELECT i, row_number() OVER (ORDER BY i) AS n FROM ({every})")
    summary.interactions, summary.users, with_interactions = connection.execute(
        "SELECT count(*), count(DISTINCT uid), count(DISTINCT iid) FROM kept"
    ).fetchone()
    summary.items = sql.count(connection, "SELECT count(*) FROM chosen")
    summary.items_without_interactions = summary.items - with_interactions


def load_items(connection: duckdb.DuckDBPyConnection, table: InputTable, columns: ItemColumns, options: Options, summary: Summary) -> None:
    """Creates the table ``meta`` with the first row of every item in ``chosen`` (column i); its columns c0, c1, ... are those of
    ``columns.all()``."""
    wanted = columns.all()
    cells = ", ".join(f"CASE WHEN chosen.i IS NOT NULL THEN c{n} END AS c{n}" for n in range(len(wanted)))
    rows = f"SELECT fault, {sql.token('c0')} AS t, * EXCLUDE (fault) FROM ({table.rows(wanted)})"
    rows = f"SELECT coalesce(token, t) AS token, * EXCLUDE (t, token) FROM ({rows}) LEFT JOIN respelt USING (t)"
    query = f"SELECT fault, token, chosen.i IS NOT NULL AS used, {cells} FROM ({rows}) LEFT JOIN chosen ON chosen.i = token"
    loaded = load(connection, table, "meta_rows", query, options.max_bad_rows)
    summary.drop("unreadable in the item table", loaded.bad)
    summary.first_unreadable += [loaded.first_bad] if loaded.bad else []
    first = "SELECT min(rowid) FROM meta_rows WHERE used AND fault IS NULL GROUP BY token"
    connection.execute(f"CREATE TABLE meta AS SELECT * FROM meta_rows WHERE rowid IN ({first})")
    good = "FROM meta_rows WHERE fault IS NULL AND token IS NOT NULL"
    found = sql.count(connection, "SELECT count(*) FROM meta")
    summary.repeated_metadata = sql.count(connection, f"SELECT count(*) {good} AND used") - found
    summary.metadata_without_interactions = sql.count(connection, f"SELECT count(DISTINCT token) {good} AND NOT used")
    named = {
        "item": columns.item,
        "title": ", ".join(columns.texts[:1]),
        "description": ", ".join(columns.texts[1:]),
        "picture": columns.image,
    }
    carried = {**columns.extra, **dict(zip(columns.keep, columns.keep, strict=True))}
    named |= {"carried along": ", ".join(dict.fromkeys(carried.values()))}
    asked = {"item": ("item", options.item_column, "id"), "picture": ("image", options.image_column, "")}
    said = {shown: instead_of(role, table.columns, wanted, more)
            for shown, (role, given, more) in asked.items() if named[shown] and not given}  # fmt: skip
    used = {role: column for role, column in named.items() if column}
    summary.tables.append(Table.of(table, loaded.rows, used, {role: words for role, words in said.items() if words}))
    summary.count_lacking(sql.count(connection, "SELECT count(*) FROM chosen") - found)


def find_pictures(connection: duckdb.DuckDBPyConnection, pictures: Pictures, columns: ItemColumns | None, options: Options) -> None:
    """Finds the pictures of the items of ``chosen``.

    Raises:
        InputError: there is none, although a folder or a column of pictures was asked for.
    """
    wanted = [pictures.column] if columns and pictures.column else []
    pictures.find((token, cells.get(pictures.column)) for token, cells in _item_rows(connection, columns.all() if wanted else [], wanted))
    if not pictures.of_item and pictures.named and (options.images or options.image_column or pictures.outside):
        items = listed(pictures.first_missing)
        holds = f"{pictures.folder} holds " + (f"{listed(pictures.index.examples())}, ..." if pictures.index.files else "no pictures")
        what = f"the column {pictures.column} names {items}, and {holds}" if wanted else f"{holds}, and none is called like {items}"
        raise InputError(f"no picture was found: {what}; give their folder as --images, or leave them out with --image-column=none")


def write_items(
    connection: duckdb.DuckDBPyConnection, file: Path, columns: ItemColumns | None, source: Source, options: Options,
    pictures: Pictures | None, summary: Summary,
) -> None:  # fmt: skip
    """Writes one line per item of ``chosen``, in its order (column ``n``). Texts are cleaned, and quoted where they hold a quote, so that
    RecBole and ``read_atomic_file`` both read them back unchanged."""
    titled, described = bool(columns and columns.texts), bool(columns and len(columns.texts) > 1)
    extra = dict(columns.extra) if columns else {}
    header = ["item_id:token", *["title:token_seq"] * titled, *["description:token_seq"] * described, *extra]
    kept = kept_columns(connection, columns.all(), columns.keep, options.decimal) if columns else {}
    summary.kept_columns = [column.header for column in kept.values()]
    header += [*summary.kept_columns, *["image:token"] * bool(pictures)]
    summary.text_columns = list(columns.texts) if columns else []
    with open(file, "w", encoding="utf-8", newline="\n") as target:
        out = csv.writer(target, delimiter="\t", lineterminator="\n")
        out.writerow(header)
        for token, cells in _item_rows(connection, columns.all() if columns else []):
            texts = [_text(name, cells[name] or "", source) for name in (columns.texts if columns else ())]
            line = [token, *texts[:1], *([join_fields(texts[1:])] if described else [])]
            line += [clean_text(source.extra[header][1](cells[column] or "")) for header, column in extra.items()]
            line += [column.text(cells[name]) for name, column in kept.items()]
            picture = pictures.of_item.get(token, "") if pictures else ""
            out.writerow([*line, picture] if pictures else line)
            summary.items_with_text += any(texts)
            summary.items_with_picture += bool(picture)
    if titled and options.text_columns and not summary.items_with_text:
        raise InputError(f"--text-columns: {listed(columns.texts)} {'are' if described else 'is'} empty for every item that is kept")


def _item_rows(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[str], wanted: Sequence[str] | None = None
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """The items of ``chosen`` with the cells of the ``wanted`` columns, of those that were loaded."""
    wanted = columns if wanted is None else wanted
    cells = "".join(f", meta.c{columns.index(name)}" for name in wanted)
    source = "chosen LEFT JOIN meta ON meta.token = chosen.i" if columns else "chosen"
    total = sql.count(connection, "SELECT count(*) FROM chosen")
    cursor = connection.cursor()
    cursor.execute(f"SELECT chosen.i{cells} FROM {source} ORDER BY chosen.n")
    with tqdm(total=total, desc="items", unit="item", delay=2, disable=not sys.stderr.isatty()) as bar:
        while rows := cursor.fetchmany(CHUNK):
            for token, *values in rows:
                yield token, dict(zip(wanted, values, strict=True))
            bar.update(len(rows))


def _text(column: str, cell: str, source: Source) -> str:
    if cell.startswith(NESTED):
        try:
            parts = _flat(json.loads(cell[1:]))
        except RecursionError:
            return ""
        return join_fields(parts) if column in SENTENCES else clean_text(", ".join(parts))
    return clean_text(source.clean[column](cell) if column in source.clean else cell)


def _flat(value: object) -> list[str]:
    """The values in a list or object, however deeply nested; in a list each value once."""
    if isinstance(value, list):
        return list(dict.fromkeys(part for element in value for part in _flat(element)))
    if isinstance(value, dict):
        return [f"{key}: {', '.join(_flat(element))}" for key, element in value.items()]
    return [] if value is None or value == "" else [str(value)]
