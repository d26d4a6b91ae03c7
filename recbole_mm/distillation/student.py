"""A student as files that its backend reads again."""

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from recbole_mm.disk import whole_folder, write_whole
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.factory import create_encoder
from recbole_mm.encoder.saved import FOLDER
from recbole_mm.encoder.settings import OPTIONS
from recbole_mm.errors import InputError

REPORT = "distillation.json"


class Written(NamedTuple):
    """Where a student is: its name as an encoder, and the configuration keys that it needs besides."""

    name: str
    keys: dict[str, object]

    def __str__(self) -> str:
        return " ".join([f"--encoder={self.name}", *(f"--{key}={value}" for key, value in self.keys.items())])


def check_output(folder: Path) -> None:
    """Raises InputError: a student must not be written there, because there is something else."""
    if folder.is_file():
        raise InputError(f"--output {folder} is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise InputError(f"--output {folder} has other files in it; give a new folder")


def check_writable(encoder: ItemEncoder) -> None:
    """Checks that an encoder's files give the encoder again.

    Raises:
        InputError: they do not, or there can be none.
    """
    with TemporaryDirectory() as folder:
        written = _write(encoder, Path(folder), Path(folder))
        again = create_encoder(written.name, **{OPTIONS[key]: value for key, value in written.keys.items()})
        if again.fingerprint() != encoder.fingerprint():
            raise InputError(f"{encoder.name} cannot be a student: its backend does not read it again as it is from files")


def write_student(encoder: ItemEncoder, folder: Path) -> Written:
    """Writes an encoder into a folder, whole or not at all, in place of an earlier one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder, replace=True) as temporary:
        written = _write(encoder, temporary, folder)
        (temporary / REPORT).write_text("{}")
    return written


def write_report(folder: Path, report: dict) -> None:
    """Writes what is known of a student beside its files."""
    write_whole(folder / REPORT, lambda file: file.write_text(json.dumps(report, indent=1)))


def _write(encoder: ItemEncoder, folder: Path, final: Path) -> Written:
    """``final``: where the folder will be."""
    name, options = copy.deepcopy(encoder).cpu().save_files(folder)

    def placed(value: object) -> object:
        return value.replace(FOLDER, str(final.resolve())) if isinstance(value, str) else value

    return Written(placed(name), {key: placed(options[option]) for key, option in OPTIONS.items() if option in options})
