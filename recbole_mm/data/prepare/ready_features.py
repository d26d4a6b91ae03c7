"""Ready-made features: .npy tables in which row i belongs to item number i, written as safetensors that name the item of every row."""

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from recbole_mm.data.prepare.summary import Summary
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError, listed, one_line

MODALITIES = {"image_feat": "image", "text_feat": "text"}


def find_features(folder: Path, count: int, fixed: bool, summary: Summary) -> tuple[dict[str, Path], int]:
    """Finds the feature tables of a folder. Tables of another shape are left out, with a note in the summary.

    Args:
        count: how many items there are.
        fixed: whether that is certain. Otherwise it is the highest item number in the interactions, and there may be more items: if all
            tables have the same larger number of rows, that is the number of items.

    Returns:
        The tables by modality, and the number of items.

    Raises:
        InputError: ``image_feat.npy`` or ``text_feat.npy`` has another number of rows, a table holds no numbers, or two tables would get
            the same name.
    """
    shapes = {file: _open_array(file).shape for file in sorted(folder.glob("*.npy"))}
    rows = {shape[0] for shape in shapes.values() if len(shape) == 2}
    if not fixed and len(rows) == 1 and min(rows) > count:
        count = min(rows)
    found: dict[str, Path] = {}
    for file, shape in shapes.items():
        modality = MODALITIES.get(file.stem, re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_"))
        if len(shape) != 2 or shape[0] != count:
            said = f"{file} has shape {tuple(shape)}, but there are {count} items"
            if file.stem in MODALITIES:
                raise InputError(f"{said}: row i must belong to item number i")
            summary.notes.append(f"left out: {said}")
        elif modality in found or not modality:
            raise InputError(f"{file} and {found.get(modality)} would both be called '{modality}'; rename one of them")
        else:
            found[modality] = file
            summary.features[modality] = [int(size) for size in shape]
    return found, count


def write_features(found: dict[str, Path], target: Path, tokens: Sequence[str]) -> dict[str, str]:
    """Writes ``<modality>.safetensors`` with the tensor ``features``, fp32 (items, width). Its metadata hold ``item_tokens``, a JSON list
    in the order of the rows. Returns the file names by modality.

    Raises:
        InputError: a table has NaN or infinite values.
    """
    return {modality: write_table(file, _open_array(file), target / f"{modality}.safetensors", tokens) for modality, file in found.items()}


def write_table(source: Path, table: np.ndarray, file: Path, tokens: Sequence[str]) -> str:
    """Writes the features of some items, (n, width), as fp32, with their tokens. Returns the name of the file.

    Raises:
        InputError: there are NaN or infinite values in the ``source`` that they are from.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        table = np.ascontiguousarray(table, dtype=np.float32)
    broken = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(broken):
        raise InputError(f"{source}: NaN or infinite values in {len(broken)} rows, of the items {listed(tokens[i] for i in broken[:5])}")
    metadata = {"item_tokens": json.dumps(list(tokens), ensure_ascii=False)}
    write_whole(file, partial(save_file, {"features": table}, metadata=metadata))
    return file.name


def _open_array(file: Path) -> np.ndarray:
    try:
        table = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's header parser raises almost anything on damaged bytes
        raise InputError(f"{file}: not a table of numbers ({one_line(error)}); save it with numpy.save as float32") from error
    if table.dtype.kind not in "fiu":
        raise InputError(f"{file}: not a table of numbers ({table.dtype}); save it with numpy.save as float32")
    return table
