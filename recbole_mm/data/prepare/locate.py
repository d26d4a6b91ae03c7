"""Finds the files of a source and the columns of a file."""

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from recbole_mm.data.prepare.source import Layout
from recbole_mm.errors import InputError, listed, nearest

COMMON_NAMES = {
    "user": "userid user customerid customer reviewerid reviewer buyerid buyer clientid memberid visitorid accountid uid",
    "item": "itemid item productid product asin parentasin movieid articleid article sku videoid bookid newsid iid",
    "time": "timestamp time unixreviewtime datetime date eventtime createdat orderdate purchasedate ts",
    "rating": "rating overall score stars",
    "image": "image picture photo file filename imagepath imagefile img cover poster",
}
COMMON_TEXTS = [
    "title", "name", "productname", "itemname", "producttitle", "movietitle", "headline",
    "description", "text", "productdescription", "desc", "body", "summary", "abstract",
]  # fmt: skip
NONE = "none"


def find_file(folder: Path | None, layouts: Sequence[Layout], given: Path | None, option: str) -> tuple[Path, Layout] | None:
    """The file of a source and its layout: the one that an option gives, or else the one that matches the pattern of a layout.

    Raises:
        InputError: the given file is missing, or several files match a pattern.
    """
    if given is not None:
        file = given if given.exists() or folder is None else folder / given
        if not file.is_file():
            raise InputError(f"{option}={given}: no such file")
        return file, next((layout for layout in layouts if _fits(file.name, layout)), Layout(file.name))
    for layout in layouts if folder else ():
        found = sorted(file for file in folder.glob(layout.pattern) if file.is_file() and _fits(file.name, layout))
        if len(found) > 1:
            raise InputError(f"{folder} has {listed(file.name for file in found[:5])}; say which with {option}=FILE")
        if found:
            return found[0], layout
    return None


def _fits(name: str, layout: Layout) -> bool:
    return fnmatch.fnmatch(name, layout.pattern.rpartition("/")[2]) and not (layout.but and fnmatch.fnmatch(name, layout.but))


def find_folder(folder: Path | None, patterns: Sequence[str], given: Path | None) -> Path | None:
    """The folder of pictures: the one that ``--images`` gives, or else the first of the usual ones that exists."""
    if given is not None:
        found = given if given.exists() or folder is None else folder / given
        if not found.is_dir():
            raise InputError(f"--images={given}: no such folder")
        return found
    found = (path for pattern in patterns if folder for path in sorted(folder.glob(pattern)) if path.is_dir())
    return next(found, None)


def find_column(role: str, columns: Sequence[str], file: Path, given: str | None, known: str | None, more: str = "") -> str | None:
    """The column of a role ("user", "item", "time", "rating" or "image"): the one that its option gives, or else the one that the kind of
    source has, or else the one with a common name. None if there is none, or if the option says "none".

    Raises:
        InputError: the given column is missing, or several columns have common names.
    """
    option = f"--{role}-column"
    if given is not None:
        if given == NONE and role in ("time", "rating", "image"):
            return None
        if given not in columns:
            raise InputError(f"{option}={given}: {file} has no such column{nearest(given, columns)}; it has {listed(columns)}")
        return given
    if known in columns:
        return known
    names = [*COMMON_NAMES[role].split(), *more.split()]
    found = [column for column in columns if plain(column) in names]
    if len(found) > 1:
        raise InputError(f"{file}: the {role} could be any of the columns {listed(found)}; say which with {option}=NAME")
    return found[0] if found else None


def need_column(role: str, columns: Sequence[str], file: Path, found: str | None) -> str:
    """Returns ``found``.

    Raises:
        InputError: it is None; the message says how to name the column.
    """
    if found is None:
        raise InputError(f"{file}: no column looks like the {role} among {listed(columns)}; say which with --{role}-column=NAME")
    return found


def text_columns(columns: Sequence[str], file: Path, given: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The text columns in order: those that the option gives, or else those of the kind of source, or else those with common names."""
    if given is not None:
        for name in given if tuple(given) != (NONE,) else ():
            if name not in columns:
                raise InputError(f"--text-columns: {file} has no column {name}{nearest(name, columns)}; it has {listed(columns)}")
        return [] if tuple(given) == (NONE,) else list(given)
    if known:
        return [name for name in known if name in columns]
    found = [column for column in columns if plain(column) in COMMON_TEXTS]
    return sorted(found, key=lambda column: COMMON_TEXTS.index(plain(column)))


def plain(column: str) -> str:
    """The name of a column in lower case, without anything but letters and digits."""
    return re.sub(r"[^a-z0-9]", "", column.lower())
