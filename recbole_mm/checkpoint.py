"""Checkpoints: written whole or not at all, and read without running anything they hold."""

import itertools
import os
import pickle
import zipfile
from collections.abc import Mapping
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import torch
from recbole.utils import get_local_time

from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError


def checkpoint_name(config) -> str:
    """A file name in checkpoint_dir that no other run of this second has: <model>-<dataset>-<time>[-n].pth."""
    folder = Path(config["checkpoint_dir"])
    stem = f"{config['model']}-{config['dataset']}-{get_local_time()}-{os.getpid()}"
    names = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
    return str(next(folder / f"{name}.pth" for name in names if not (folder / f"{name}.pth").exists()))


def save_checkpoint(state: dict, file: str | Path) -> None:
    """A kill while writing leaves the previous checkpoint."""
    write_whole(Path(file), partial(torch.save, state))


def load_checkpoint(file: str | Path, pickled: bool = False) -> dict:
    """A checkpoint of ours, on the CPU; no code in it runs. With ``pickled`` also one of RecBole's own trainer, which is a pickle: only
    for a file that the user names as their own.

    Raises:
        InputError: no such file, or no checkpoint.
    """
    if not Path(file).is_file():
        raise InputError(f"no checkpoint {file}")
    checkpoint = None
    if zipfile.is_zipfile(file):
        try:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, LookupError, RuntimeError):  # a pickle of protocol 4 fails in any of these ways
            checkpoint = torch.load(file, map_location="cpu", weights_only=False) if pickled and _is_torchs(file) else None
    if not (isinstance(checkpoint, dict) and {"config", "state_dict"} <= set(checkpoint)):
        raise InputError(f"{file} is not a checkpoint of recbole_mm{' or RecBole' if pickled else ''}")
    return checkpoint


def _is_torchs(file: str | Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def plain(value: object) -> object:
    """``value`` as what a checkpoint may hold: containers, numbers, strings, devices, enums by name; anything else as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.name
    return value if isinstance(value, str | int | float | bool | torch.device | None) else str(value)
