"""Reads an exported folder."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy import sparse
from torch import Tensor

from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.export.folder_model import FolderModel
from recbole_mm.serving.export.folder_scores import FolderScores
from recbole_mm.serving.export.folder_source import FolderSource
from recbole_mm.serving.export.layout import ITEMS, SEEN, SIMILARITIES, THUMBNAILS, USERS, read_manifest
from recbole_mm.serving.export.tables import read_column
from recbole_mm.serving.export.vector_index import read_index
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.item_side import ItemSide
from recbole_mm.serving.journal import Journal
from recbole_mm.serving.parts import Parts
from recbole_mm.serving.served_items import ServedItems
from recbole_mm.serving.similarities import ItemSimilarities
from recbole_mm.serving.thumbnails import StoredThumbnails


def folder_parts(folder: Path, model_class: type | None = None) -> Parts:
    """The parts of the Recommender that a folder was exported from.

    Args:
        model_class: the class of the model, if it is neither one of ours nor one of RecBole's.

    Raises:
        InputError: it is no such folder, or not whole.
    """
    manifest = read_manifest(folder)
    users, items = [str(token) for token in read_column(folder / USERS, "user")], read_column(folder / ITEMS, "item")
    gone = np.flatnonzero(~read_column(folder / ITEMS, "recommended").astype(bool)) + 1
    served = ServedItems(["[PAD]", *(str(token) for token in items)], torch.from_numpy(gone))
    seen = load_file(folder / SEEN)
    histories = Histories.of_parts(seen["starts"], seen["items"], seen.get("times"))
    similarities = _similarities(load_file(folder / SIMILARITIES), served.n_known) if (folder / SIMILARITIES).is_file() else None
    model = FolderModel(folder, model_class)
    scores = FolderScores(folder, manifest, served.n_known, histories, similarities, model)
    side = ItemSide(FolderSource(folder, manifest, model), scores, served)
    tokens = list(served.tokens[: served.n_known])
    index = read_index(folder, manifest.get("index"))
    return Parts(users, scores, side, lambda: _catalogue(folder, tokens, gone), manifest, Journal(folder), index)


def _catalogue(folder: Path, tokens: list[str], gone: np.ndarray) -> Catalogue:
    titles, thumbnails = ["", *read_column(folder / ITEMS, "title")], folder / THUMBNAILS
    return Catalogue(tokens, titles, StoredThumbnails(thumbnails) if thumbnails.is_file() else None, [tokens[item] for item in gone])


def _similarities(tensors: Mapping[str, Tensor], n_items: int) -> ItemSimilarities:
    items = tensors["items"].numpy() if "items" in tensors else _csr("items", tensors, n_items)
    return ItemSimilarities(_csr("users", tensors, n_items), items, tensors["constant"].numpy())


def _csr(name: str, tensors: Mapping[str, Tensor], n_columns: int) -> sparse.csr_matrix:
    data, indices, starts = (tensors[f"{name}_{part}"].numpy() for part in ("data", "indices", "indptr"))
    return sparse.csr_matrix((data, indices, starts), (len(starts) - 1, n_columns))
