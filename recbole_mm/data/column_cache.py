"""The columns of large atomic files, kept in the cache of the data set for as long as the file and what is read of it stay the same."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from logging import getLogger
from pathlib import Path

import numpy as np
import pandas as pd
from recbole.utils import FeatureType

from recbole_mm.data.content import writable_cache
from recbole_mm.data.quick_file import Columns, Survey, read_quickly, survey
from recbole_mm.disk import locked, write_whole
from recbole_mm.errors import InputError

LARGE = 2**20
"""From how many bytes on a file is read quickly. Smaller ones are read in a moment."""
ENCODINGS = ("utf-8", "utf8", "utf-8-sig")
FORMAT = 1
logger = getLogger(__name__)


def quick_columns(config, path: Path, kinds: Mapping[str, FeatureType | None], ids: Sequence[str]) -> Columns | None:
    """The columns of a file as ``read_quickly`` gives them, from the cache where they are there.

    Args:
        kinds: all columns in the order of the file, each with its type, or None for one that is not read.
        ids: the columns in which no token may be missing.

    Returns:
        None where the file is to be read by ``read_atomic_file``.
    """
    simple = set(kinds.values()) <= {FeatureType.TOKEN, FeatureType.FLOAT, None}
    if not config["fast_loop"] or not simple or (config["encoding"] or "utf-8").lower() not in ENCODINGS:
        return None
    try:
        if path.stat().st_size < LARGE:
            return None
        found = survey(path)
    except OSError:
        return None
    if found.lines is None:
        return None
    columns = _cached(config, path, kinds, found)
    whole = columns is not None and all((columns[field].codes >= 0).all() for field in ids)
    return columns if whole else None


def _cached(config, path: Path, kinds: Mapping[str, FeatureType | None], found: Survey) -> Columns | None:
    separator = config["field_separator"]
    asked = json.dumps([FORMAT, separator, {name: kind and kind.value for name, kind in kinds.items()}])
    with suppress(InputError, OSError):
        cache = Path(config["cache_dir"] or writable_cache(path.parent / ".recbole_mm")) / "columns"
        cache.mkdir(parents=True, exist_ok=True)
        file = cache / f"{path.name}-{blake2b(asked.encode(), digest_size=8).hexdigest()}.npz"
        with locked(file.with_suffix(".lock"), f"reading {path}"):
            columns = _load(file, found.digest)
            if columns is None:
                columns = read_quickly(path, kinds, separator, found.lines)
                if columns is not None and survey(path) == found:  # nobody has written to it meanwhile
                    write_whole(file, lambda part: _save(part, columns, found.digest))
            else:
                logger.info(f"{path}: its columns are in {file}")
        return columns
    return read_quickly(path, kinds, separator, found.lines)


def _save(file: Path, columns: Columns, digest: str) -> None:
    """Writes columns as arrays of numbers; the tokens of a column are one text, each on a line."""
    arrays: dict[str, np.ndarray] = {"names": _bytes("\n".join([digest, *columns]))}
    for place, values in enumerate(columns.values()):
        if isinstance(values, pd.Categorical):
            arrays |= {f"codes{place}": values.codes.astype(np.int32), f"tokens{place}": _bytes("\n".join(values.categories))}
        else:
            arrays[f"numbers{place}"] = values
    with open(file, "wb") as whole:
        np.savez(whole, **arrays)


def _load(file: Path, digest: str) -> Columns | None:
    """What ``_save`` has written; None where there is nothing, or something else, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            written, *names = _text(arrays["names"])
            if written != digest:
                return None
            columns = {}
            for place, name in enumerate(names):
                if f"numbers{place}" in arrays:
                    columns[name] = arrays[f"numbers{place}"]
                else:
                    tokens = pd.Index(_text(arrays[f"tokens{place}"]), dtype=object)
                    columns[name] = pd.Categorical.from_codes(arrays[f"codes{place}"], tokens)
            return columns
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning(f"{file} is damaged and made anew ({error})")
        return None


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _text(letters: np.ndarray) -> list[str]:
    return letters.tobytes().decode().split("\n")
