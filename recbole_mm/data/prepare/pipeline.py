"""The command ``recbole-mm prepare``: find the files, load, filter and write them, and say what was kept."""

import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from recbole_mm.data.prepare import sql
from recbole_mm.data.prepare.input_table import open_table
from recbole_mm.data.prepare.interactions import filter_interactions, load_interactions, write_interactions
from recbole_mm.data.prepare.items import item_columns, load_items, write_items
from recbole_mm.data.prepare.locate import find_file, find_folder
from recbole_mm.data.prepare.mmrec import LABEL, is_mmrec, prepare_mmrec
from recbole_mm.data.prepare.options import Options, parse
from recbole_mm.data.prepare.output import REPORT, new_folder
from recbole_mm.data.prepare.pictures import Pictures
from recbole_mm.data.prepare.source import SOURCES, Layout, Source
from recbole_mm.data.prepare.summary import Summary
from recbole_mm.errors import InputError, listed

Found = tuple[Path, Layout]
WORK = ".work"


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status."""
    options = parse(arguments)
    try:
        summary = prepare(options)
    except InputError as error:  # cells and names of columns may hold line breaks
        raise InputError(" ".join(str(error).split())) from error
    print("\n".join([*summary.lines(), f"written to {options.output}", f"next: {next_command(options, summary)}"]))
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
    if options.source == "mmrec" or options.source == "amazon-2014" and is_mmrec(options):
        with _making(options, summary, [folder] if folder else []) as (connection, part):
            prepare_mmrec(connection, options, part, part / WORK, summary)
        return summary
    interactions, items = _files(source, options)
    pictures = find_folder(folder, source.pictures, options.images)
    inputs = [interactions[0], *([items[0]] if items else []), *([pictures] if pictures else [])]
    with _making(options, summary, inputs) as (connection, part):
        _prepare(connection, options, source, interactions, items, pictures, part, summary)
    return summary


def _files(source: Source, options: Options) -> tuple[Found, Found | None]:
    interactions = find_file(options.input, source.interactions, options.interactions, "--interactions")
    if interactions is None:
        patterns = listed(layout.pattern for layout in source.interactions)
        looked = f"{options.input} has no {patterns}" if options.input else "nothing to read"
        raise InputError(f"{looked}; give --interactions=FILE, or --input=FOLDER and its --source")
    return interactions, find_file(options.input, source.items, options.items, "--items")


@contextmanager
def _making(options: Options, summary: Summary, inputs: Iterable[Path]) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Gives a database and a folder to write into, which becomes the output folder at the end, with the summary in it."""
    with new_folder(options.output, options.overwrite, inputs) as part:
        (part / WORK).mkdir()
        with sql.connect(part / WORK, options.memory) as connection:
            yield connection, part
        shutil.rmtree(part / WORK)
        summary.write(part / REPORT)


def _prepare(
    connection: duckdb.DuckDBPyConnection, options: Options, source: Source, interactions: Found, items: Found | None,
    pictures_folder: Path | None, part: Path, summary: Summary,
) -> None:  # fmt: skip
    name = options.output.absolute().name
    spelling = {"encoding": options.encoding, "delimiter": options.delimiter, "quote": options.quote}
    table = open_table(connection, *interactions, part / WORK, **spelling)
    if LABEL in table.columns:
        summary.notes.append(f"the split in the column {LABEL} is not kept; --source=mmrec would keep it")
    load_interactions(connection, table, source, options, summary)
    filter_interactions(connection, options, summary)
    connection.execute(
        "CREATE TABLE chosen AS SELECT i, row_number() OVER (ORDER BY i) AS n FROM items WHERE rowid IN (SELECT iid FROM kept)"
    )
    summary.interactions, summary.users, summary.items = connection.execute(
        "SELECT count(*), count(DISTINCT uid), count(DISTINCT iid) FROM kept"
    ).fetchone()
    write_interactions(connection, part / f"{name}.inter", "rating" in summary.columns, "time" in summary.columns)
    columns = None
    if items is not None:
        table = open_table(connection, *items, part / WORK, **spelling)
        columns = item_columns(table, source, options, summary.columns["item"])
        load_items(connection, table, columns, options, summary)
    by_path = columns is not None and columns.image is not None
    if pictures_folder is None and by_path:
        pictures_folder = items[0].parent
    pictures = Pictures(pictures_folder, by_path) if pictures_folder is not None else None
    if columns is not None or pictures is not None:
        write_items(connection, part / f"{name}.item", columns, source, pictures, summary)
    if pictures is not None:
        pictures.bring(part / "images", options.link)
        summary.missing_pictures, summary.first_missing = pictures.missing, pictures.first_missing


def next_command(options: Options, summary: Summary) -> str:
    """The command that trains on the data set."""
    folder = options.output.absolute()
    model = "CLIPRec" if summary.items_with_text or summary.items_with_picture or summary.features else "BPR"
    files = [f"--config_files={options.output / folder.name}.yaml"] if summary.parts or summary.features else []
    words = ["recbole-mm", "run", f"--model={model}", f"--dataset={folder.name}", f"--data_path={options.output.parent}", *files]
    return " ".join(map(shlex.quote, words))
