"""StateTable: what frozen blocks made of a catalogue's items, on the disk, read as a batch asks for it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from recbole_mm.feature.store import FeatureStore


class StateTable:
    """Rows of a feature store by item id, mapped from its shards: of a batch only its own rows come into memory.

    Args:
        store: holds the rows, (length, width) each; lengths may differ from shard to shard.
        digests: the content of each item, "" where it has none (its rows are not asked for). Raises KeyError for one not stored.
    """

    def __init__(self, store: FeatureStore, digests: Sequence[str]) -> None:
        places = [store.place(digest) if digest else None for digest in digests]
        paths = sorted({place[0] for place in places if place})
        number = {path: i for i, path in enumerate(paths)}
        self._shards = [_mapped(path) for path in paths]
        self._place = torch.tensor([(number[place[0]], place[1]) if place else (-1, -1) for place in places])

    def rows(self, ids: Tensor) -> Tensor:
        """float32 (n, longest, width) of n items, on the device of ``ids``; shorter rows are padded with zeros."""
        shard, row = self._place[ids.cpu()].unbind(1)
        numbers = shard.unique().tolist()
        shape = [max(sizes) for sizes in zip(*(self._shards[i].shape[1:] for i in numbers), strict=True)]
        out = torch.zeros(len(ids), *shape, pin_memory=ids.is_cuda)
        for i in numbers:
            at = (shard == i).nonzero().squeeze(1)
            rows = self._shards[i][row[at]]
            out[at, : rows.shape[1]] = rows.float()
        return out.to(ids.device, non_blocking=True)


def _mapped(path: Path) -> Tensor:
    """A shard's tensor; safetensors maps the file, and nothing of it is read yet."""
    with safe_open(str(path), framework="pt") as file:
        return file.get_tensor("features")
