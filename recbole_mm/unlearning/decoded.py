"""What a file holds, in the formats that this package writes: strings, and the bytes of arrays."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import torch
from safetensors import safe_open
from scipy import sparse

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.errors import InputError, one_line

CELLS = re.compile("[\t,]")
Piece = tuple[str, str | bytes]
"""Where something stands in a file, and a string or the bytes of an array."""


def decoded(path: Path) -> Iterator[Piece]:
    """The strings of a file and those arrays that do not stand in it as they are, by the ending of its name. Others are text where they are
    UTF-8, by their lines and cells.

    Raises:
        InputError: the file is not what its name says.
    """
    try:
        yield from FORMATS.get(path.suffix, _text)(path)
    except InputError:
        raise
    except Exception as error:  # safetensors, torch, duckdb and numpy raise almost anything on damaged bytes
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {one_line(error)})") from error


def _values(value: object, place: str) -> Iterator[Piece]:
    """The strings and arrays within containers."""
    if isinstance(value, str | bytes):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield place, str(key)
            yield from _values(item, f"{place}/{key}")
    elif isinstance(value, torch.Tensor):
        yield place, _bytes(value)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield place, np.ascontiguousarray(np.ma.filled(value)).tobytes()
    elif isinstance(value, list | tuple | set | np.ndarray):
        for number, item in enumerate(value):
            yield from _values(item, f"{place}[{number}]")
    elif sparse.issparse(value):
        yield from _values(value.tocsr().data, place)
    elif isinstance(value, torch.nn.Module):
        yield from _values(value.state_dict(), place)


def _bytes(tensor: torch.Tensor) -> bytes:
    if tensor.is_sparse:
        return _bytes(tensor.coalesce().values())
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _safetensors(path: Path) -> Iterator[Piece]:
    """The tensors stand in the file as they are."""
    with safe_open(str(path), framework="pt") as file:
        for key, text in (file.metadata() or {}).items():
            yield from _values(_parsed(text), key)


def _checkpoint(path: Path) -> Iterator[Piece]:
    yield from _values(load_checkpoint(path, pickled=True), "")


def _parquet(path: Path) -> Iterator[Piece]:
    for name, column in duckdb.read_parquet(str(path)).fetchnumpy().items():
        yield from _values(np.ma.filled(column, None) if column.dtype == object else column, name)


def _json(path: Path) -> Iterator[Piece]:
    yield from _values(json.loads(path.read_text(encoding="utf-8")), "")


def _json_lines(path: Path) -> Iterator[Piece]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for place, value in _values(_parsed(line), f"line {number}"):
            yield place, value
            with suppress(ValueError):  # a vector or a picture
                yield place, b64decode(value, validate=True)


def _npz(path: Path) -> Iterator[Piece]:
    with np.load(path, allow_pickle=False) as arrays:
        for name, array in arrays.items():
            yield from _values(array, name)
            if array.dtype == np.uint8:
                yield from _lines(array.tobytes(), name)


def _text(path: Path) -> Iterator[Piece]:
    yield from _lines(path.read_bytes(), "")


def _nothing(path: Path) -> Iterator[Piece]:
    yield from ()


def _lines(data: bytes, place: str) -> Iterator[Piece]:
    with suppress(UnicodeDecodeError):
        for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
            for cell in {line, *CELLS.split(line)}:
                yield f"{place} line {number}".lstrip(), cell


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


FORMATS = {
    ".safetensors": _safetensors, ".pth": _checkpoint, ".parquet": _parquet, ".json": _json, ".jsonl": _json_lines, ".npz": _npz,
    ".bin": _nothing, ".faiss": _nothing,
}  # fmt: skip
"""What decodes a file beyond its bytes as they are, by the ending of its name."""
