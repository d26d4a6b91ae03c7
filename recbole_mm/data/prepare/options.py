"""The options of ``recbole-mm prepare``."""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.data.prepare.columns import NONE
from recbole_mm.data.prepare.source import SOURCES
from recbole_mm.errors import InputError, nearest

EPILOG = """\
sources:
{sources}

example:
  recbole-mm prepare --interactions=orders.csv --items=products.csv --images=pictures --output=dataset/shop --k-core=5
  recbole-mm run --model=CLIPRec --dataset=shop --data_path=dataset

rows are removed in this order: unreadable rows, --where, rows without a user or item, --min-rating, --dedup, --k-core
"""


@dataclass(frozen=True)
class Options:
    """The options of ``prepare``; None means that the value is found out."""

    output: Path
    source: str = "files"
    input: Path | None = None
    interactions: Path | None = None
    items: Path | None = None
    images: Path | None = None
    user_column: str | None = None
    item_column: str | None = None
    time_column: str | None = None
    rating_column: str | None = None
    image_column: str | None = None
    text_columns: tuple[str, ...] | None = None
    keep_columns: tuple[str, ...] = ()
    where: str | None = None
    k_core: int = 0
    min_rating: float | None = None
    keep_all_items: bool = False
    dedup: str = "last"
    time_unit: str = "auto"
    time_format: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    link: str = "copy"
    max_bad_rows: float = 0.01
    memory: str = "2GB"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.k_core < 0:
            raise InputError(f"--k-core {self.k_core}: it must be a number that is not negative")
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise InputError(f"--min-rating {self.min_rating}: it must be a number")
        if not 0 <= self.max_bad_rows <= 1:
            raise InputError(f"--max-bad-rows {self.max_bad_rows}: it must be a share from 0 to 1")
        if self.decimal not in (None, ".", ","):
            raise InputError(f"--decimal={self.decimal}: it must be . or ,")
        if self.where is not None and not self.where.strip():
            raise InputError("--where is empty; give a condition, for example --where \"status <> 'cancelled'\"")
        if self.time_column == NONE and (self.time_format or self.time_unit != "auto"):
            raise InputError("--time-format and --time-unit say how times are written, but --time-column=none leaves them out")
        if not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", self.memory, re.IGNORECASE):
            raise InputError(f"--memory {self.memory}: it must be a size such as 2GB")

    def of_items(self) -> list[str]:
        """The options that were given and say something about the item table."""
        given = {"image-column": self.image_column, "text-columns": self.text_columns, "keep-columns": self.keep_columns}
        given = [f"--{name}" for name, value in given.items() if value and value not in (NONE, (NONE,))]
        return given + ["--keep-all-items"] * self.keep_all_items


def parse(arguments: Sequence[str]) -> Options:
    """Reads the options from command line arguments, ``--key=value`` or ``--key value``.

    Raises:
        InputError: an option does not exist, has no value, or has a value that it cannot have.
    """
    arguments = [_hyphens(argument) for argument in arguments]
    found, rest = _parser().parse_known_args(arguments)
    if rest:
        names = [action.option_strings[-1] for action in _parser()._actions]
        raise InputError(f"unknown option '{rest[0]}'{nearest(rest[0].partition('=')[0], names)}; see recbole-mm prepare --help")
    return Options(**vars(found))


def _hyphens(argument: str) -> str:
    """``--k_core=5`` means ``--k-core=5``."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise InputError(f"{message}; see recbole-mm prepare --help")


def _parser() -> argparse.ArgumentParser:
    sources = "\n".join(f"  {name:<12} {source.about}" for name, source in SOURCES.items())
    parser = _Parser(
        prog="recbole-mm prepare",
        description="Make a RecBole data set folder (.inter, .item, images/) of your own tables and pictures or of a published data set.",
        epilog=EPILOG.format(sources=sources),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    files = parser.add_argument_group("input")
    files.add_argument(
        "--source", default="files", choices=list(SOURCES), metavar="KIND", help="a kind of source, see below; default: files"
    )
    files.add_argument("--input", type=Path, metavar="FOLDER", help="the folder that holds the files of the source")
    files.add_argument(
        "--interactions",
        type=Path,
        metavar="FILE",
        help="the table of interactions, or a pattern of several, 'orders/*.csv'; default: looked for in the input folder",
    )
    files.add_argument("--items", type=Path, metavar="FILE", help="the table of items")
    files.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="the folder of pictures, which --image-column names, or which are called <item>.jpg, .png, ...",
    )
    files.add_argument("--encoding", help="the encoding of the tables, if it is not UTF-8: latin-1, utf-16, cp1252, ...")
    files.add_argument(
        "--delimiter", help="what separates the cells of a csv file; default: the one of , ; | and tab that the header has most"
    )
    files.add_argument("--quote", metavar="CHAR", help="what quotes the cells of a csv file; '' if quotes have no meaning")
    files.add_argument("--escape", metavar="CHAR", help="what stands before a quote inside of quotes; default: a quote or backslash")
    files.add_argument("--decimal", metavar="CHAR", help="what stands before the decimals of numbers, . or ,; default: as the numbers show")
    columns = parser.add_argument_group("columns (default: those with common names; 'none' leaves out time, rating, image or texts)")
    for name in ("user", "item", "time", "rating", "image"):
        columns.add_argument(f"--{name}-column", metavar="NAME")
    columns.add_argument("--text-columns", type=_names, metavar="A,B,C", help="the first becomes the title, the others the description")
    columns.add_argument(
        "--keep-columns",
        type=_names,
        default=(),
        metavar="A,B,C",
        help="further columns of the item table for the item file",
    )
    columns.add_argument(
        "--time-unit",
        default="auto",
        choices=("auto", "s", "ms", "us", "ns", "excel"),
        help="the unit of times that are numbers; excel: days of a spreadsheet",
    )
    columns.add_argument("--time-format", metavar="FORMAT", help="how dates are written, such as '%%d.%%m.%%Y %%H:%%M'; default: found out")
    keep = parser.add_argument_group("filters")
    keep.add_argument(
        "--where",
        metavar="CONDITION",
        help="keep only interactions for which this SQL holds: \"status <> 'cancelled'\"",
    )
    keep.add_argument("--min-rating", type=float, metavar="X", help="keep only interactions rated X or better")
    keep.add_argument(
        "--dedup",
        default="last",
        choices=("first", "last"),
        help="which interaction to keep if a user has several with one item; default: last",
    )
    keep.add_argument(
        "--k-core",
        type=int,
        default=0,
        metavar="N",
        help="keep only users and items with N interactions or more, repeated until nothing changes",
    )
    keep.add_argument("--keep-all-items", action="store_true", help="keep items of the item table that nobody has interacted with")
    keep.add_argument(
        "--max-bad-rows", type=float, default=0.01, metavar="SHARE", help="stop if a larger share of the rows is unreadable; default: 0.01"
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="the data set folder, whose name becomes the name of the data set"
    )
    out.add_argument("--overwrite", action="store_true", help="replace a folder that prepare has made")
    out.add_argument("--link", default="copy", choices=("copy", "hardlink"), help="how pictures get into <output>/images; default: copy")
    out.add_argument("--memory", default="2GB", metavar="SIZE", help="memory for DuckDB, which uses the disk beyond that; default: 2GB")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
