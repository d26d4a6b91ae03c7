"""Feature files: ready-made features of the data set's items, found by item token."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from recbole_mm.errors import InputError, listed
from recbole_mm.feature.formats import open_rows, reading
from recbole_mm.feature.row_faults import warn_of_faults
from recbole_mm.feature.row_tokens import row_tokens
from recbole_mm.items.feature_table import Table
from recbole_mm.terminal import say

NAMED_IN_MESSAGE = 3


def read_tables(
    files: Mapping[str, str], tokens: Sequence[str], folder: Path, ids: Mapping[str, str] | str | None = None, item_field: str = "item_id",
    scaling: str | None = None,
) -> dict[str, Table]:  # fmt: skip
    """Features of a catalogue from files.

    Args:
        files: ``{modality: path}``, relative to ``folder`` or absolute: ``.safetensors``, ``.npy``, ``.parquet``, or a folder with one
            ``.npy`` file per item.
        tokens: item tokens by internal id, ``tokens[0]`` being padding.
        folder: the data set's folder.
        ids: what names the rows of files that do not name them themselves: an id file or ``row``, one for all files or one per modality.
        item_field: the data set's item column, by which columns of files are found.
        scaling: see ``scaled``.

    Raises:
        InputError: a file cannot be read, names its rows wrongly, or does not belong to these items.
    """
    by_name = ids if isinstance(ids, Mapping) else {}
    for modality in by_name:
        if modality not in files:
            raise InputError(f"feature_ids names '{modality}', but no feature file in use is for that modality ({listed(files)})")
    shared = None if isinstance(ids, Mapping) else ids
    names = {m: (by_name.get(m), shared) for m in files}
    return {m: _read_table(m, folder / file, list(tokens), names[m], folder, item_field, scaling) for m, file in files.items()}


def scaled(rows: np.ndarray, scaling: str | None) -> np.ndarray:
    """Float rows (n, d) of a feature file as models see them: with ``unit`` of length 1, otherwise as they are. Rows of zeros, and rows of
    a single number, which length 1 would leave no more than a sign, stay as they are.

    Files hold rows of any length: those of two audio networks are 17 and 1,477 long on Last.fm's artists, and what a recommender's layers
    make of them drowns its ids.
    """
    if scaling != "unit" or rows.shape[1] == 1:
        return rows
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _read_table(
    modality: str, path: Path, tokens: list[str], ids: tuple[str | None, str | None], folder: Path, item_field: str, scaling: str | None
) -> Table:
    own_ids, shared_ids = ids
    found = open_rows(path, modality, item_field)
    if found.tokens is not None and own_ids is not None:
        raise InputError(f"feature_ids: {modality}: {path} names its rows itself; leave the modality out of feature_ids")
    names = found.tokens
    if names is None:
        names = row_tokens(path, found.count, own_ids or shared_ids, folder, item_field, set(tokens[1:]))
    if len(names) != found.count:
        raise InputError(f"{path} has {found.count} rows and {len(names)} item tokens")
    row_of = {token: row for row, token in enumerate(names)}
    if len(row_of) < len(names):
        twice = next(token for row, token in enumerate(names) if row_of[token] != row)
        raise InputError(f"{path} has item {twice} more than once (rows {names.index(twice)} and {row_of[twice]})")
    rows = np.array([-1, *(row_of.get(token, -1) for token in tokens[1:])])
    _check_coverage(modality, path, tokens, rows, names)
    ids = np.flatnonzero(rows >= 0)
    ids = ids[np.argsort(rows[ids])]
    features = np.zeros((len(tokens), found.width), dtype=np.float32)
    with reading(modality, path):
        features[ids] = found.read(rows[ids])
    bad = np.flatnonzero(~np.isfinite(features).all(1))
    if len(bad):
        raise InputError(f"{path}: {len(bad)} items have NaN or infinite features, first {_shortened(tokens[i] for i in bad)}")
    features = scaled(features, scaling)
    fingerprint = _fingerprint(features, rows >= 0, tokens)
    table = Table(torch.from_numpy(features), torch.from_numpy(rows >= 0), fingerprint, codes=_row_codes(features, rows >= 0))
    warn_of_faults(modality, str(path), table, tokens)
    return table


def _check_coverage(modality: str, path: Path, tokens: list[str], rows: np.ndarray, names: list[str]) -> None:
    """Items that the file lacks are missing in this modality. If most are, it is the wrong file or the wrong order of rows."""
    without = [token for token, row in zip(tokens[1:], rows[1:], strict=True) if row < 0]
    n_items = len(tokens) - 1
    if not without:
        return
    if 2 * len(without) > n_items:
        known = set(tokens[1:])
        others = [name for name in names if name not in known]
        raise InputError(f"feature_files: {modality}: {path} has {n_items - len(without)} of the data set's {n_items} items: it lacks "
                         f"{_shortened(without)}, and has {_shortened(others) if others else 'no others'}")  # fmt: skip
    say(f"{modality}: {len(without)} of {n_items} items are not in {path} ({_shortened(without)}) and count as missing")


def _shortened(words: Iterable[str]) -> str:
    """The first few words of a list, for a message."""
    words = list(words)
    return listed(words[:NAMED_IN_MESSAGE]) + ", ..." * (len(words) > NAMED_IN_MESSAGE)


def _row_codes(features: np.ndarray, present: np.ndarray) -> torch.Tensor:
    digests = b"".join(blake2b(row, digest_size=8).digest() if here else bytes(8) for row, here in zip(features, present, strict=True))
    return torch.from_numpy(np.frombuffer(digests, dtype="<i8").copy())


def _fingerprint(features: np.ndarray, present: np.ndarray, tokens: list[str]) -> str:
    digest = blake2b("\0".join(tokens).encode(), digest_size=16)
    digest.update(present.tobytes())
    digest.update(features)
    return digest.hexdigest()
