"""The item file of a folder whose items are known before their texts and pictures are looked for."""

from pathlib import Path

import duckdb

from recbole_mm.data.prepare.files import find_files, find_folder
from recbole_mm.data.prepare.items import find_pictures, item_columns, load_items, write_items
from recbole_mm.data.prepare.open_table import open_table
from recbole_mm.data.prepare.options import Options
from recbole_mm.data.prepare.pictures import Pictures
from recbole_mm.data.prepare.source import Source
from recbole_mm.data.prepare.summary import Summary


def write_folder_items(
    connection: duckdb.DuckDBPyConnection, source: Source, item_column: str, options: Options, file: Path, scratch: Path, summary: Summary
) -> None:
    """Writes the item file: all items of ``chosen`` (i, n), with the texts and pictures that the folder has.

    Args:
        item_column: what the column of the item is called in the interactions.
    """
    columns = None
    items = find_files(options.input, source.items, options.items, "--items")
    folder = find_folder(options.input, source.pictures, options.images)
    if items is not None:
        table = open_table(connection, *items, scratch, options.encoding)
        columns = item_columns(connection, table, source, options, item_column)
        connection.execute("CREATE TABLE respelt (t VARCHAR, token VARCHAR)")
        load_items(connection, table, columns, options, summary)
    pictures = Pictures(folder, columns.image if columns else None) if folder else None
    if pictures:
        find_pictures(connection, pictures, columns, options)
        summary.count_pictures(pictures)
    write_items(connection, file, columns, source, options, pictures, summary)
    if pictures:
        pictures.bring(file.parent / "images", options.link)
