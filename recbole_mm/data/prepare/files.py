"""Finds the files and folders of a source."""

import fnmatch
import glob
from collections.abc import Sequence
from pathlib import Path

from recbole_mm.data.prepare.source import Layout
from recbole_mm.errors import InputError, listed

Found = tuple[tuple[Path, ...], Layout]
"""The files of one table, and their layout."""


def find_files(folder: Path | None, layouts: Sequence[Layout], given: Path | None, option: str) -> Found | None:
    """The files of a table and their layout: those that an option gives, by name or as a pattern such as ``orders/*.csv``, or else the one
    that matches the pattern of a layout.

    Raises:
        InputError: a given file is missing, or several files match the pattern of a layout.
    """
    if given is not None:
        files = _given(folder, given, option)
        return files, next((layout for layout in layouts if _fits(files[0].name, layout)), Layout(files[0].name))
    for layout in layouts if folder else ():
        found = sorted(file for file in folder.glob(layout.pattern) if file.is_file() and _fits(file.name, layout))
        if len(found) > 1:
            names = listed(file.name for file in found[:5])
            raise InputError(f"{folder} has {names}; say which with {option}=FILE, or all with a pattern, {option}='{folder}/*.csv'")
        if found:
            return (found[0],), layout
    return None


def _given(folder: Path | None, given: Path, option: str) -> tuple[Path, ...]:
    place = given if given.exists() or folder is None else folder / given
    if place.is_file():
        return (place,)
    if place.is_dir():
        raise InputError(f"{option}={given} is a folder; name its files by a pattern, {option}='{given}/*.csv'")
    for pattern in dict.fromkeys([str(given), str(place)]):
        found = tuple(path for path in map(Path, sorted(glob.glob(pattern, recursive=True))) if path.is_file())
        if found:
            return found
    raise InputError(f"{option}={given}: no such file")


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
