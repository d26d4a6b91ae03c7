"""Ready-made features: .npy tables whose rows are item numbers, written as safetensors that name their rows."""

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
    """The tables of a folder by modality, and their number of rows: ``count``, or where that is only what the interactions mention
    (not ``fixed``) the larger one that all tables share. Other tables are left out with a note.

    Raises:
        InputError: ``image_feat.npy`` or ``text_feat.npy`` has another number of rows, a table holds no numbers or two have one name.
    """
    shapes = {file: _open(file).shape for file in sorted(folder.glob("*.npy"))}
    rows = {shape[0] for shape in shapes.values() if len(shape) == 2}
    if not fixed and len(rows) == 1 and min(rows) > count:
        count = min(rows)
    found: dict[str, Path] = {}
    for file, shape in shapes.items():
        modality = MODALITIES.get(file.stem, re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_"))
        if len(shape) != 2 or shape[0] != count:
            said = f"{file} has shape {tuple(shape)}, and there are {count} items"
            if file.stem in MODALITIES:
                raise InputError(f"{said}: row i must belong to item number i")
            summary.notes.append(f"left out: {said}")
        elif modality in found or not modality:
            raise InputError(f"{file} and {found.get(modality)} would both be called '{modality}'; rename one")
        else:
            found[modality] = file
            summary.features[modality] = [int(size) for size in shape]
    return found, count


def write_features(found: dict[str, Path], target: Path, tokens: Sequence[str]) -> dict[str, str]:
    """Writes ``<modality>.safetensors``: the tensor ``features`` (items, width), fp32, with ``item_tokens`` in its metadata, a JSON list
    in the order of the rows. Returns their file names by modality.

    Raises:
        InputError: a row that is not finite.
    """
    for modality, file in found.items():
        with np.errstate(over="ignore", invalid="ignore"):
            table = np.ascontiguousarray(_open(file), dtype=np.float32)
        broken = np.flatnonzero(~np.isfinite(table).all(axis=1))
        if len(broken):
            raise InputError(f"{file}: NaN or infinite values in {len(broken)} rows, of the items {listed(tokens[i] for i in broken[:5])}")
        metadata = {"item_tokens": json.dumps(list(tokens), ensure_ascii=False)}
        write_whole(target / f"{modality}.safetensors", partial(save_file, {"features": table}, metadata=metadata))
    return {modality: f"{modality}.safetensors" for modality in found}


def _open(file: Path) -> np.ndarray:
    try:
        table = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's header parser raises almost anything on damaged bytes
        raise InputError(f"{file}: not a table of numbers ({one_line(error)}); save it with numpy.save as float32") from error
    if table.dtype.kind not in "fiu":
        raise InputError(f"{file}: not a table of numbers ({table.dtype}); save it with numpy.save as float32")
    return table
