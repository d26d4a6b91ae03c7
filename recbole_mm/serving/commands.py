"""The commands ``recommend``, ``similar``, ``search`` and ``export``."""

import argparse
import sys
from pathlib import Path

import duckdb
import pandas as pd
from rich.console import Console
from rich.table import Table

from recbole_mm.config.plugins import load_plugins
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.serving.export.layout import read_manifest
from recbole_mm.serving.export.run_facts import run_facts
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.recommender import Recommender
from recbole_mm.serving.together import recommend_together

SHOWN = 20
"""How many lines of a long table the screen shows."""


def recommend(arguments: argparse.Namespace, _: list[str]) -> int:
    """The best items of the users in a file, one token per line, or of all users. Under torchrun the processes share the users, and the
    first one writes."""
    write, ranks = _writer(arguments.output), Ranks.from_environment()
    recommender = _load(arguments)
    users = _lines(arguments.users) if arguments.users else recommender.users
    candidates = _lines(arguments.candidates) if arguments.candidates else None
    table = recommend_together(recommender, users, arguments.k, not arguments.include_seen, candidates, ranks)
    ranks.leave()
    if table is None:
        return 0
    if write is None:
        _show(table, f"{arguments.k} items per user")
    else:
        write_whole(Path(arguments.output), lambda file: write(table, file))
        print(f"{arguments.output}: {len(table)} recommendations for {table['user'].nunique()} users")
    return 0


def similar(arguments: argparse.Namespace, _: list[str]) -> int:
    """The items most like one."""
    table = _load(arguments).similar(arguments.item, arguments.k, arguments.by)
    _show(table, f"similar to {arguments.item} by {arguments.by}")
    return 0


def search(arguments: argparse.Namespace, _: list[str]) -> int:
    """The items that fit a text or a picture."""
    if (arguments.text is None) == (arguments.image is None):
        raise InputError("give either --text or --image")
    query = arguments.text if arguments.image is None else Path(arguments.image)
    _show(_load(arguments).search(query, arguments.k), f"search for {query}")
    return 0


def export(arguments: argparse.Namespace, _: list[str]) -> int:
    """A checkpoint's model as a folder that stands alone. Under torchrun the processes share the users whose vectors are to be found."""
    load_plugins(arguments.plugins.split(",") if arguments.plugins else None)
    ranks, folder, facts = Ranks.from_environment(), Path(arguments.output), run_facts(arguments.checkpoint)
    parts = Recommender.load(arguments.checkpoint).parts
    parts.items.take_features()
    parts.scores.find_vectors_together(ranks)
    ranks.leave()
    if ranks.rank:
        return 0
    write_folder(parts, folder, facts, arguments.with_encoder, arguments.index, show_progress=True)
    manifest = read_manifest(folder)
    megabytes = sum(file["bytes"] for file in manifest["files"].values()) / 1e6
    print(f"{folder}: {manifest['model']} of {manifest['n_users']} users and {manifest['n_items']} items, {megabytes:.1f} MB")
    if manifest["index"] is not None:
        print(f"index {arguments.index}: {manifest['index']['recall']:.3f} of the true best 10 of {manifest['index']['users']} users")
    return 0


def _load(arguments: argparse.Namespace) -> Recommender:
    if arguments.k < 1:
        raise InputError(f"--k={arguments.k} must be above 0")
    load_plugins(arguments.plugins.split(",") if arguments.plugins else None)
    return Recommender.load(arguments.checkpoint)


def _writer(output: str | None):
    """What writes a table into a file of this name; None without a name."""
    if output is None:
        return None
    writers = {
        ".csv": lambda table, file: table.to_csv(file, index=False),
        ".parquet": lambda table, file: duckdb.from_df(table).write_parquet(str(file)),
    }
    if Path(output).suffix not in writers:
        raise InputError(f"--output={output} must end in {' or '.join(writers)}")
    return writers[Path(output).suffix]


def _lines(file: str) -> list[str]:
    try:
        return [line.strip() for line in Path(file).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8") from error


def _show(table: pd.DataFrame, title: str) -> None:
    shown = Table(title=title, title_justify="left")
    for column in table.columns:
        shown.add_column(column, justify="left" if table[column].dtype == object else "right")
    for row in table.head(SHOWN).itertuples(index=False):
        shown.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row))
    Console(file=sys.stdout).print(shown)
    if len(table) > SHOWN:
        print(f"... and {len(table) - SHOWN} more; --output=top.csv (or .parquet) keeps all of them")
