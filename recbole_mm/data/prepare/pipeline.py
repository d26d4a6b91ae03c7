"""The command ``recbole-mm prepare``: find the files, load, filter and write them, and say what was kept."""

import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import settings_file, sql
from recbole_mm.data.prepare.files import Found, find_files, find_folder
from recbole_mm.data.prepare.interactions import filter_interactions, load_interactions, write_interactions
from recbole_mm.data.prepare.items import ItemColumns, choose_items, find_pictures, item_columns, load_items, write_items
from recbole_mm.data.prepare.mmrec import LABEL, is_mmrec, prepare_mmrec
from recbole_mm.data.prepare.open_table import open_table
from recbole_mm.data.prepare.options import Options, parse
from recbole_mm.data.prepare.output import REPORT, new_folder
from recbole_mm.data.prepare.pictures import Pictures
from recbole_mm.data.prepare.same_items import check_ids, create_macros, match_items
from recbole_mm.data.prepare.screen import show
from recbole_mm.data.prepare.source import SOURCES, Source
from recbole_mm.data.prepare.summary import Summary
from recbole_mm.data.prepare.unisrec import prepare_unisrec
from recbole_mm.errors import InputError, listed

WORK = ".work"


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status."""
    options = parse(arguments)
    try:
        summary = prepare(options)
    except InputError as error:  # cells and names of columns may hold line breaks
        raise InputError(" ".join(str(error).split())) from error
    show(summary)
    print(f"\nwritten to {options.output}\nnext: {next_command(options, summary)}")
    return 0


def prepare(options: Options) -> Summary:
    """Makes the data set folder ``options.output``.

    Raises:
        InputError: a sound data set cannot be made; the folder is then neither made nor changed.
    """
    source, folder = SOURCES[options.source], options.input
    if folder is not None and not folder.exists():
        raise InputError(f"--input={folder}: no such folder")
    if folder is not None and folder.is_file():
        raise InputError(f"--input={folder} is a file; give the folder, or the file as --interactions")
    summary = Summary(options.source)
    whole_folder = {"mmrec": prepare_mmrec, "unisrec": prepare_unisrec}.get(options.source)
    if options.source == "amazon-2014" and is_mmrec(options):
        whole_folder = prepare_mmrec
    if whole_folder is not None:
        with _making(options, summary, [folder] if folder else []) as (connection, part):
            whole_folder(connection, options, part, part / WORK, summary)
        return summary
    interactions, items = _files(source, options)
    pictures = find_folder(folder, source.pictures, options.images)
    inputs = [*interactions[0], *(items[0] if items else ()), *([pictures] if pictures else [])]
    with _making(options, summary, inputs) as (connection, part):
        _prepare(connection, options, source, interactions, items, pictures, part, summary)
    return summary


def _files(source: Source, options: Options) -> tuple[Found, Found | None]:
    interactions = find_files(options.input, source.interactions, options.interactions, "--interactions")
    if interactions is None:
        patterns = listed(layout.pattern for layout in source.interactions)
        looked = f"{options.input} has no {patterns}" if options.input else "nothing to read"
        raise InputError(f"{looked}; give --interactions=FILE, or --input=FOLDER and its --source")
    return interactions, find_files(options.input, source.items, options.items, "--items")


@contextmanager
def _making(options: Options, summary: Summary, inputs: Iterable[Path]) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Gives a database and a folder to write into, which becomes the output folder at the end, with the summary in it."""
    with new_folder(options.output, options.overwrite, inputs) as part:
        (part / WORK).mkdir()
        with sql.connect(part / WORK, options.memory) as connection:
            create_macros(connection)
            yield connection, part
        shutil.rmtree(part / WORK)
        summary.write(part / REPORT)


def _prepare(
    connection: duckdb.DuckDBPyConnection, options: Options, source: Source, interactions: Found, items: Found | None,
    pictures_folder: Path | None, part: Path, summary: Summary,
) -> None:  # fmt: skip
    name = options.output.absolute().name
    written = {key: getattr(options, key) for key in ("encoding", "delimiter", "quote", "escape")}
    table = open_table(connection, *interactions, _folder(part / WORK / "interactions"), **written)
    if LABEL in table.columns:
        summary.notes.append(f"the split in the column {LABEL} is not kept; --source=mmrec would keep it")
    load_interactions(connection, table, source, options, summary)
    check_ids(connection, table, summary.columns, item_too=items is None)
    item_table = columns = None
    if items is not None:
        item_table = open_table(connection, *items, _folder(part / WORK / "items"), **written)
        columns = item_columns(connection, item_table, source, options, summary.columns["item"])
        match_items(connection, item_table, columns.item, table, summary.columns["item"], options.max_bad_rows, summary)
    elif of_items := options.of_items():
        raise InputError(f"{of_items[0]} needs an item table; give it as --items=FILE")
    filter_interactions(connection, options, summary)
    choose_items(connection, options.keep_all_items, summary)
    write_interactions(connection, part / f"{name}.inter", "rating" in summary.columns, "time" in summary.columns)
    if columns is not None:
        load_items(connection, item_table, columns, options, summary)
    image = columns.image if columns else None
    if pictures_folder is None and image:
        pictures_folder = items[0][0].parent
    pictures = Pictures(pictures_folder, image, options.output.absolute()) if pictures_folder is not None else None
    if pictures is not None:
        find_pictures(connection, pictures, columns, options)
        summary.count_pictures(pictures)
    if columns is not None or pictures is not None:
        write_items(connection, part / f"{name}.item", columns, source, options, pictures, summary)
    if pictures is not None:
        pictures.bring(part / "images", options.link)
    settings_file.write_settings(part / f"{name}.yaml", _settings(options, columns, summary))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _settings(options: Options, columns: ItemColumns | None, summary: Summary) -> Iterator[settings_file.Setting]:
    yield from settings_file.fields(summary.columns)
    if options.keep_all_items:
        load = {"inter": ["user_id", "item_id", *["timestamp"] * ("time" in summary.columns)], "item": ["item_id"]}
        yield "load_col", load, "Every item of the item file is in the catalogue, also those that nobody has interacted with."
    yield from settings_file.content(len(columns.texts) > 1 if columns and columns.texts else None, summary.items_with_picture > 0)


def next_command(options: Options, summary: Summary) -> str:
    """The command that trains on the data set."""
    folder = options.output.absolute()
    content = summary.items_with_text or summary.items_with_picture or summary.features
    model = "SASRecM" if summary.source == "unisrec" and content else "CLIPRec" if content else "BPR"
    words = ["recbole-mm", "run", f"--model={model}", f"--dataset={folder.name}", f"--data_path={options.output.parent}"]
    return " ".join(map(shlex.quote, words))
