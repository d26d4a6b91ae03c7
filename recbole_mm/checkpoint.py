"""Checkpoints: written whole or not at all, and read without running any code in them."""

import itertools
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import torch
from recbole.utils import get_local_time

from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError


def checkpoint_name(config) -> str:
    """A file name in ``checkpoint_dir`` that no other run has: <model>-<dataset>-<time>-<process>.pth, or that with -2, -3, ... added."""
    folder = Path(config["checkpoint_dir"])
    stem = f"{config['model']}-{config['dataset']}-{get_local_time()}-{os.getpid()}"
    names = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
    return str(next(folder / f"{name}.pth" for name in names if not (folder / f"{name}.pth").exists()))


def save_checkpoint(state: dict, file: str | Path) -> None:
    """Writes a checkpoint. A process that is killed meanwhile leaves the previous one as it was (see ``write_whole``)."""
    write_whole(Path(file), partial(torch.save, state))


def load_checkpoint(file: str | Path, pickled: bool = False) -> dict:
    """Reads a checkpoint to the CPU without running any code in it.

    Args:
        file: the checkpoint.
        pickled: whether it may also be one of RecBole's own trainer. Those are pickles, which can run any code, so this is only for files
            that the user names as their own.

    Raises:
        InputError: there is no such file, or it is no checkpoint.
    """
    if not Path(file).is_file():
        raise InputError(f"no checkpoint {file}")
    checkpoint = None
    if zipfile.is_zipfile(file):
        try:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, LookupError, RuntimeError):  # a pickle of protocol 4 may fail with any of them
            checkpoint = torch.load(file, map_location="cpu", weights_only=False) if pickled and _written_by_torch(file) else None
    if not (isinstance(checkpoint, dict) and {"config", "state_dict"} <= set(checkpoint)):
        raise InputError(f"{file} is not a checkpoint of recbole_mm{' or RecBole' if pickled else ''}")
    return checkpoint


@contextmanager
def fitting(file: str | Path) -> Iterator[None]:
    """Loads the weights of a checkpoint within a ``with``.

    Raises:
        InputError: they do not fit.
    """
    try:
        yield
    except (RuntimeError, LookupError, ValueError) as error:
        raise InputError(f"{file} does not fit this model and data set: {str(error).splitlines()[-1].strip()}") from error


def _written_by_torch(file: str | Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def plain(value: object) -> object:
    """Turns a value into one that a checkpoint may hold: containers, numbers, strings and devices stay, an enum becomes its name, and
    anything else its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.name
    return value if isinstance(value, str | int | float | bool | torch.device | None) else str(value)
