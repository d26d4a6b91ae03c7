"""A data set folder appears whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from recbole_mm.errors import InputError

REPORT = "prepare.json"
RESERVED = ("demo", "ml-100k")  # RecBole's own copy, or recbole_mm's drawing, would be used instead


@contextmanager
def new_folder(folder: Path, overwrite: bool, inputs: Iterable[Path]) -> Iterator[Path]:
    """A hidden folder beside ``folder`` to write into; at the end it takes its place. Whatever goes wrong, nothing of it is left;
    what a killed process left is swept away by the next.

    Raises:
        InputError: the folder exists and is not empty (with ``overwrite``: was not made by prepare), holds an input, or has a name that
            RecBole gives another meaning.
    """
    folder = folder.absolute()
    _check(folder, overwrite, [path.resolve() for path in inputs])
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    part = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:12]}.part")
    old = part.with_suffix(".old")
    lock = FileLock(part.with_suffix(".lock"))
    with lock:
        try:
            part.mkdir()
            yield part
            if overwrite and folder.exists():
                os.rename(folder, old)
            try:
                os.rename(part, folder)
            except OSError:
                if old.exists():
                    os.rename(old, folder)
                raise
        finally:
            for left in (part, old):
                shutil.rmtree(left, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def _check(folder: Path, overwrite: bool, inputs: list[Path]) -> None:
    if folder.name in RESERVED or not folder.name:
        raise InputError(f"--output={folder}: RecBole would not read a data set of the name '{folder.name}'; choose another")
    if any(folder.resolve() in (path, *path.parents) for path in inputs):
        raise InputError(f"--output={folder} holds files that are to be read; choose another")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not overwrite:
            raise InputError(f"--output={folder} exists and is not empty; choose another, or replace it with --overwrite")
        if not (folder / REPORT).is_file():
            raise InputError(f"--output={folder} was not made by recbole-mm prepare (it has no {REPORT}): remove it yourself")


def _sweep(folder: Path) -> None:
    """Removes what killed processes left: their lock is free."""
    for part in folder.parent.glob(f".{folder.name}-*.part"):
        try:
            with FileLock(part.with_suffix(".lock"), timeout=0):
                shutil.rmtree(part, ignore_errors=True)
            part.with_suffix(".lock").unlink(missing_ok=True)
        except (Timeout, OSError):
            continue
