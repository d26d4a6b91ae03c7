"""The formats of feature files. Rows are read when they are asked for, and nothing is ever unpickled."""

import glob
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mm.errors import InputError, listed, one_line

VECTOR_COLUMNS = ("features", "embedding", "vector")


class Rows(NamedTuple):
    """An open feature file.

    Attributes:
        tokens: the item token of each row; None if the file does not say.
        count, width: how many rows there are, and how many numbers each has.
        read: sorted row numbers (n,) -> float32 (n, width).
    """

    tokens: list[str] | None
    count: int
    width: int
    read: Callable[[np.ndarray], np.ndarray]


def open_rows(path: Path, modality: str, item_field: str) -> Rows:
    """Opens a feature file, or a folder with one ``.npy`` file per item.

    Args:
        modality, item_field: names by which the columns of a Parquet file are found, and which messages name.

    Raises:
        InputError: no such file, a format that is none of ``FORMATS``, or a file that is not what it should be.
    """
    if path.is_dir():
        kind = _folder
    elif not path.exists():
        raise InputError(f"feature_files: {modality}: no such file {path}")
    else:
        kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"feature_files: {modality}: {path} is none of {listed(FORMATS)}, or a folder with one .npy file per item")
    with reading(modality, path):
        return kind(path, modality, item_field)


@contextmanager
def reading(modality: str, path: Path) -> Iterator[None]:
    """Turns whatever goes wrong while a feature file is read into an InputError of one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # numpy, safetensors and duckdb raise almost anything on damaged bytes
        raise InputError(f"feature_files: {modality}: {path} cannot be read ({type(error).__name__}: {one_line(error)})") from error


def _npy(path: Path, modality: str, item_field: str) -> Rows:
    array = _load_npy(path)
    _check_matrix(path, array.shape)
    return Rows(None, *array.shape, lambda rows: _float32(array[rows]))


def _safetensors(path: Path, modality: str, item_field: str) -> Rows:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        names, metadata = list(file.keys()), file.metadata() or {}
        name = "features" if "features" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise InputError(f"{path} holds {listed(names)}: name one of its tensors 'features', or store a single tensor")
        tensor = file.get_tensor(name)
    if not tensor.is_floating_point():
        raise InputError(f"{path} holds {tensor.dtype}; save the features as float32 (or 16, 64)")
    _check_matrix(path, tensor.shape)
    tokens = json.loads(metadata["item_tokens"]) if "item_tokens" in metadata else None
    if tokens is not None and not (isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)):
        raise InputError(f"{path}: its metadata key item_tokens must be a JSON list of strings, in row order")
    return Rows(tokens, *tensor.shape, lambda rows: tensor[rows].float().numpy())


def _parquet(path: Path, modality: str, item_field: str) -> Rows:
    import duckdb
    import pandas as pd

    source = "read_parquet('{}', file_row_number = true)".format(glob.escape(str(path)).replace("'", "''"))
    connection = duckdb.connect()
    types = {name: str(kind) for name, kind, *_ in connection.execute(f"describe select * from {source}").fetchall()}
    del types["file_row_number"]
    vectors = [name for name, kind in types.items() if kind.endswith("]") and kind.startswith(("FLOAT", "DOUBLE", "HALF"))]
    others = [name for name in types if not types[name].endswith("]")]
    vector = _column(path, vectors, (modality, *VECTOR_COLUMNS), "vectors: a list of floats")
    token = _column(path, others, (item_field, "item_id", "token"), "item tokens")
    tokens = [row[0] for row in connection.execute(f'select "{token}"::varchar from {source} order by file_row_number').fetchall()]
    shortest, longest = connection.execute(f'select min(len("{vector}")), max(len("{vector}")) from {source}').fetchall()[0]
    if None in tokens or shortest is None:
        raise InputError(f"{path}: row {tokens.index(None) if None in tokens else 0} has no '{token}'")
    if shortest != longest:
        odd = connection.execute(f'select "{token}" from {source} where len("{vector}") != {longest} limit 1').fetchall()[0][0]
        raise InputError(f"{path}: vectors must have one length, and have from {shortest} to {longest} numbers; item {odd} has too few")

    def read(rows: np.ndarray) -> np.ndarray:
        connection.register("wanted", pd.DataFrame({"row": rows}))
        query = f'select "{vector}" as v from {source} where file_row_number in (from wanted) order by file_row_number'
        found = connection.execute(query).fetchnumpy()["v"]
        if len(found) != len(rows) or np.ma.getmaskarray(found).any():
            raise InputError(f"{path} has items without a vector")
        return _float32(np.stack([np.ma.filled(row, np.nan) for row in found]))

    return Rows(tokens, len(tokens), int(longest), read)


def _column(path: Path, candidates: list[str], names: tuple[str, ...], what: str) -> str:
    named = [name for name in names if name in candidates]
    if not named and len(candidates) != 1:
        raise InputError(f"{path}: it is not clear which column holds {what}; call it {names[0]} (there are {listed(candidates)})")
    return (named or candidates)[0]


def _folder(path: Path, modality: str, item_field: str) -> Rows:
    files = sorted(file for file in path.glob("*.npy") if not file.name.startswith("."))
    if not files:
        raise InputError(f"feature_files: {modality}: the folder {path} has no .npy file; name the folder that holds one per item")
    width = _load_npy(files[0]).size

    def read(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), width), dtype=np.float32)
        for at, row in enumerate(rows):
            with reading(modality, files[row]):
                array = _load_npy(files[row])
            if array.shape not in ((width,), (1, width)):
                raise InputError(f"{files[row]} (item {files[row].stem}) has shape {array.shape}, but {files[0].name} has width {width}")
            out[at] = _float32(array.reshape(-1))
        return out

    return Rows([file.stem for file in files], len(files), width, read)


FORMATS = {".safetensors": _safetensors, ".npy": _npy, ".parquet": _parquet}


def _load_npy(path: Path) -> np.memmap:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise InputError(f"{path} is not a .npy file")
    if array.dtype.kind != "f":
        raise InputError(f"{path} holds {array.dtype}; save the features as float32 (or 16, 64)")
    if array.offset + array.nbytes != path.stat().st_size:
        raise InputError(f"{path} has {path.stat().st_size} bytes, but its header says {array.offset + array.nbytes}: it is damaged")
    return array


def _check_matrix(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{path} has shape {tuple(shape)}; features have shape (items, numbers per item)")


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32)
