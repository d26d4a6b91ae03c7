"""The columns of large atomic files, kept in the cache of the data set for as long as the file and what is read of it stay the same."""

import glob
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from logging import getLogger
from pathlib import Path

import numpy as np
import pandas as pd
from recbole.utils import FeatureType

from recbole_mm.data.content import writable_cache
from recbole_mm.data.quick_file import BLOCK, Columns, read_quickly
from recbole_mm.disk import locked, write_whole
from recbole_mm.errors import InputError

LARGE = 2**20
"""From how many bytes on a file is read quickly. Smaller ones are read in a moment."""
ENCODINGS = ("utf-8", "utf8", "utf-8-sig")
FORMAT = 1
COLUMNS = "columns"
"""The folder of a cache that has them."""
NOT_KEPT = "not_kept.txt"
"""The file of the cache that has the digest of every file whose columns are not kept, because it holds what has been forgotten."""
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
    columns = None
    with suppress(OSError):  # which the careful reader meets as well
        if path.stat().st_size >= LARGE:
            columns = _cached(config, path, kinds)
    return columns if columns and all((columns[field].codes >= 0).all() for field in ids) else None


def _cached(config, path: Path, kinds: Mapping[str, FeatureType | None]) -> Columns | None:
    asked = json.dumps([FORMAT, config["field_separator"], {name: kind and kind.value for name, kind in kinds.items()}])
    try:
        cache = Path(config["cache_dir"] or writable_cache(path.parent / ".recbole_mm")) / COLUMNS
        cache.mkdir(parents=True, exist_ok=True)
        file = cache / f"{path.name}-{sha256(asked.encode()).hexdigest()[:16]}.npz"
        return _through(file, path, kinds, config["field_separator"])
    except (InputError, OSError):  # nowhere to keep them
        return read_quickly(path, kinds, config["field_separator"])


def forget_columns(cache: Path, files: Sequence[Path], holding: Sequence[Path]) -> int:
    """Takes the columns of files out of a cache. Those that hold what has been forgotten are read without it from then on, until they have
    changed.

    Args:
        cache: the folder ``columns`` of a cache.
        files: the files of a data set.
        holding: those of them that hold what has been forgotten.

    Returns:
        How many files of the cache are gone.
    """
    kept = [part for path in files for part in sorted(cache.glob(f"{glob.escape(path.name)}-*.npz"))]
    if kept or cache.is_dir():
        noted = _not_kept(cache) | set(map(_digest, holding))
        if noted:
            write_whole(cache / NOT_KEPT, lambda part: part.write_text("\n".join(sorted(noted)) + "\n"))
    for part in kept:
        with locked(part.with_suffix(".lock"), f"reading what {part} is of"):
            part.unlink(missing_ok=True)
    return len(kept)


def _not_kept(cache: Path) -> set[str]:
    file = cache / NOT_KEPT
    return set(file.read_text().split()) if file.is_file() else set()


def _through(file: Path, path: Path, kinds: Mapping[str, FeatureType | None], separator: str) -> Columns | None:
    """The columns that the cache ``file`` holds of ``path``, after they are put there if they are not."""
    with locked(file.with_suffix(".lock"), f"reading {path}"):
        stamp, digest = path.stat().st_mtime_ns, _digest(path)
        columns = _load(file, digest)
        if columns is None:
            columns = read_quickly(path, kinds, separator)
            unchanged = path.stat().st_mtime_ns == stamp  # nobody has written to it meanwhile
            if columns is not None and unchanged and digest not in _not_kept(file.parent):
                with suppress(OSError):
                    write_whole(file, lambda part: _save(part, columns, digest))
        else:
            logger.info(f"{path}: its columns come from {file}")
    return columns


def _digest(path: Path) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


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
