"""Writes a folder that stands alone."""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy import sparse
from torch import Tensor

import recbole_mm
from recbole_mm.disk import share, whole_folder
from recbole_mm.encoder.saved import save_encoder
from recbole_mm.errors import InputError
from recbole_mm.serving.export.layout import (
    ENCODER,
    FEATURES,
    ITEMS,
    MANIFEST,
    SEEN,
    SIMILARITIES,
    THUMBNAILS,
    USERS,
    VECTORS,
    write_manifest,
)
from recbole_mm.serving.export.model_folder import write_model
from recbole_mm.serving.export.tables import write_table
from recbole_mm.serving.export.vector_index import write_index
from recbole_mm.serving.journal import Entry, Journal
from recbole_mm.serving.parts import Parts
from recbole_mm.serving.similarities import ItemSimilarities
from recbole_mm.serving.thumbnails import write_thumbnails


def write_folder(
    parts: Parts, folder: Path, facts: Mapping[str, object], with_encoder: bool = False, index: str = "flat", show_progress: bool = False,
    changes: Callable[[], Sequence[Entry]] = tuple,
) -> None:  # fmt: skip
    """Writes all that recommending takes. A folder that an export has written before is replaced; a process that is killed meanwhile
    leaves it as it was.

    Args:
        parts: of a run (see ``run_parts``).
        facts: what the manifest says of the run besides.
        with_encoder: whether the folder gets the run's encoder, which reads the pictures and texts of new items and of searches.
        index: the kind of index over the vectors of items: flat, or hnsw, which recommendations then go by.
        changes: gives what the folder's journal begins with, and is asked for it at the end.

    Raises:
        InputError: there is something else at ``folder``, the run has no encoder or one that cannot be saved, the model can be had from
            nothing that a folder may hold, or the index does not find what the model ranks first.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already, and no exported folder: name another one")
    scores, items = parts.scores, parts.items
    vectors = scores.vectors() if scores.has_vectors() else (None, None)
    if index != "flat" and vectors[1] is None:
        raise InputError(f"an index {index} is over vectors of items, and {scores.name} has none: leave --index out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder, replace=True) as new:
        if vectors[0] is not None:
            _save({"users": vectors[0], "items": vectors[1]}, new / VECTORS)
        elif scores.similarities is not None:
            _save(_similarity_tensors(scores.similarities), new / SIMILARITIES)
        seen = {"starts": scores.histories.starts, "items": scores.histories.items}
        if scores.reads_histories and scores.histories.times is not None:
            seen["times"] = scores.histories.times
        _save(seen, new / SEEN)
        features = {m: items.features(m) for m in items.modalities}
        if features:
            rows, present = ({m: f[i] for m, f in features.items()} for i in (0, 1))
            _save({**rows, **{f"present_{m}": here for m, here in present.items()}}, new / FEATURES)
        write_table(new / USERS, {"user": parts.users}, None if vectors[0] is None else vectors[0][1:])
        pictures = parts.catalogue.thumbnails
        if any(map(pictures.has, range(len(pictures)))):
            write_thumbnails(new / THUMBNAILS, pictures, show_progress)
        known = {"item": items.served.tokens[1:], "title": parts.catalogue.titles[1:], "recommended": items.served.allowed[1:].numpy()}
        write_table(new / ITEMS, known, None if vectors[1] is None else vectors[1][1:])
        _write_model(new, parts)
        if with_encoder:
            save_encoder(items.queries.encoder, new / ENCODER)
        made = None if vectors[1] is None else write_index(new, *vectors, items.served.allowed[: items.served.n_known], index)
        write_manifest(new, {**_about(parts, vectors[1]), "index": made, "with_encoder": with_encoder, **facts})
        if entries := changes():
            Journal(new).append(entries)


def _write_model(folder: Path, parts: Parts) -> None:
    """The model itself, where it takes more than vectors or similarities to recommend, or to rank new items."""
    scores, source = parts.scores, parts.items.source
    only_way = scores.similarities is None and not scores.has_vectors()
    if not (only_way or parts.items.modalities or (scores.reads_histories and scores.similarities is None)):
        return
    try:
        write_model(folder, source.config, source.model, source.training_part)
    except InputError as error:
        if only_way:
            raise InputError(f"{error}, and its score is no product of vectors: recommend from the checkpoint") from error
        getLogger().warning(f"{error}: the folder recommends to the users of the run, and not to others (recommend_for)")


def _about(parts: Parts, vectors: Tensor | None) -> dict[str, object]:
    versions = {"recbole_mm": recbole_mm.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return {
        "model": parts.scores.name,
        "versions": versions,
        "n_users": len(parts.users),
        "n_items": len(parts.items.served.tokens) - 1,
        "dim": None if vectors is None else vectors.shape[1],
        "modalities": parts.items.modalities,
        "id_field": parts.items.source.id_field,
        "reads_histories": parts.scores.reads_histories,
        "repeat_bias": parts.scores.has_repeat_bias,
    }


def _similarity_tensors(similarities: ItemSimilarities) -> dict[str, Tensor]:
    items = similarities.items
    parts = _csr("items", items) if sparse.issparse(items) else {"items": torch.from_numpy(items)}
    return {**_csr("users", similarities.users), **parts, "constant": torch.from_numpy(similarities.constant)}


def _csr(name: str, matrix: sparse.csr_matrix) -> dict[str, Tensor]:
    return {f"{name}_{part}": torch.from_numpy(getattr(matrix, part)) for part in ("data", "indices", "indptr")}


def _save(tensors: Mapping[str, Tensor], file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    share(file)
