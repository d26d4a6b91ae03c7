"""A student as files that its backend reads again."""

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from recbole_mm.disk import whole_folder, write_whole
from recbole_mm.distillation.save import check_prunable, save_pruned
from recbole_mm.encoder import ItemEncoder
from recbole_mm.errors import InputError

REPORT = "distillation.json"


def check_output(folder: Path) -> None:
    """Raises InputError: a student must not be written there, because there is something else."""
    if folder.is_file():
        raise InputError(f"--output {folder} is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise InputError(f"--output {folder} has other files in it; give a new folder")


def check_student(encoder: ItemEncoder, prune: tuple[float, float] | None) -> None:
    """Checks that an encoder, without these shares of its blocks and hidden units, can be read again from files alone.

    Raises:
        InputError: it cannot.
    """
    encoder = copy.deepcopy(encoder).cpu()
    if prune:
        check_prunable(encoder, *prune)
        return
    with TemporaryDirectory() as folder:
        save_pruned(encoder, Path(folder))


def write_student(encoder: ItemEncoder, folder: Path, report: dict) -> str:
    """Writes an encoder into a folder, whole or not at all, in place of an earlier one, and what is known of it beside its files.

    Returns:
        The value for ``--encoder``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder, replace=True) as temporary:
        name = save_pruned(copy.deepcopy(encoder).cpu(), temporary)
        (temporary / REPORT).write_text(json.dumps(report, indent=1))
    return name.replace(str(temporary.resolve()), str(folder.resolve()))


def write_report(folder: Path, report: dict) -> None:
    """Writes anew what is known of a student."""
    write_whole(folder / REPORT, lambda file: file.write_text(json.dumps(report, indent=1)))
