"""The folder that a prepared data set is written into."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_mm.disk import put_back, whole_folder
from recbole_mm.errors import InputError

REPORT = "prepare.json"
CACHE = ".recbole_mm"
"""Where runs keep decoded pictures, encoded features and tuned encoders of a data set."""
RESERVED = ("demo", "ml-100k")
"""Names for which a run would use other data: RecBole's own copy, or the demo that recbole_mm draws."""


@contextmanager
def new_folder(folder: Path, overwrite: bool, inputs: Iterable[Path]) -> Iterator[Path]:
    """Gives an empty folder to write into, which becomes ``folder`` at the end of the ``with`` (see ``whole_folder``). The cache of one
    that is replaced stays, because its entries are named by their content.

    Raises:
        InputError: the folder exists and is not empty (with ``overwrite``: and was not made by prepare), it holds an input file, or its
            name has another meaning in RecBole.
    """
    folder = folder.absolute()
    put_back(folder)
    _check(folder, overwrite, [path.resolve() for path in inputs])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder, replace=overwrite, keep=[CACHE]) as part:
        yield part


def _check(folder: Path, overwrite: bool, inputs: list[Path]) -> None:
    if folder.name in RESERVED or not folder.name:
        raise InputError(f"--output={folder}: RecBole would not read a data set with the name '{folder.name}'; choose another name")
    if any(folder.resolve() in (path, *path.parents) for path in inputs):
        raise InputError(f"--output={folder} holds files that are to be read; choose another")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not overwrite:
            raise InputError(f"--output={folder} exists and is not empty; choose another, or replace it with --overwrite")
        if not (folder / REPORT).is_file():
            raise InputError(f"--output={folder} was not made by recbole-mm prepare (it has no {REPORT}): remove it yourself")
