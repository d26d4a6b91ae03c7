"""The index of an exported folder, checked before it is written."""

from pathlib import Path

import torch
from torch import Tensor

from recbole_mm.serving.export.layout import INDEX
from recbole_mm.serving.index import VectorIndex

CHECKED = 1000
"""How many users the check searches for."""


def write_index(folder: Path, users: Tensor, items: Tensor, allowed: Tensor, kind: str) -> dict[str, object]:
    """Writes the index of the vectors of items (n_items, d) that are ``allowed``, bool (n_items,); row 0 of ``users`` (n_users, d) is
    padding.

    Returns:
        What the manifest says of it: its kind, how many users it was searched for, the recall of their true best 10, and how wide
        searches are (``hnsw``).

    Raises:
        InputError: an unknown kind, or an index that does not find the model's best.
        MissingPackage: FAISS is not installed.
    """
    index, order = VectorIndex.built(items, allowed, kind), torch.randperm(len(users) - 1, generator=torch.Generator().manual_seed(0))
    sample = users[order[:CHECKED] + 1]
    recall = index.check(sample, items, allowed)
    index.write(folder / INDEX)
    return {"kind": kind, "recall": round(recall, 4), "users": len(sample), "width": index.width}


def read_index(folder: Path, about: dict[str, object] | None) -> VectorIndex | None:
    """The index that recommendations go by: of the kind ``hnsw``. What is looked at item by item needs none.

    Raises:
        InputError: it cannot be read.
        MissingPackage: FAISS is not installed.
    """
    return VectorIndex.read(folder / INDEX) if about and about["kind"] == "hnsw" else None
