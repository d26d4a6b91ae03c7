"""FeatureStore: encoded rows on disk, each named by the content it was made from."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from logging import getLogger
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from recbole_mm.disk import remove_left
from recbole_mm.items.shards import Shard, read_shard, write_shard

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
logger = getLogger(__name__)


class FeatureStore:
    """The rows of one encoder in one modality, in a folder of safetensors files, its shards.

    Shards (see ``Shard``) appear whole or not at all and are named by their digests, so any number of processes may write at the same time
    without a lock. Damaged ones are removed with a warning, and their rows count as not stored. Where rows are forgotten (see
    ``forget_rows``), a shard gives way to one of the others, in which they are then found.

    Args:
        folder: named by everything that decides a row besides its content: see ``recbole_mm.items.fill_stores.store_key``.
        width: how many numbers a row has, or its last dimension.
        dtype: ``fp32`` or ``fp16``, on disk.
    """

    def __init__(self, folder: Path, width: int, dtype: str = "fp32") -> None:
        self.folder, self.width, self.dtype = Path(folder), width, DTYPES[dtype]
        self._place: dict[str, tuple[Path, int]] = {}
        self._known: set[Path] = set()
        self.reload()

    def __contains__(self, digest: str) -> bool:
        return digest in self._place

    def reload(self) -> None:
        """Finds the shards that this or any other process has added or taken away since the last time."""
        damaged, there = [], set(self.folder.glob("*.safetensors"))
        if self._known - there:
            self._known &= there
            self._place = {digest: place for digest, place in self._place.items() if place[0] in there}
        for path in sorted(there - self._known):
            shard = read_shard(path)
            if shard is None or shard.rows.dtype != self.dtype or shard.rows.shape[-1] != self.width:
                damaged.append(path)
                continue
            self._known.add(path)
            for row, digest in enumerate(shard.digests):
                self._place.setdefault(digest, (path, row))
        if damaged:
            logger.warning(f"{len(damaged)} files in {self.folder} are damaged, first {damaged[0].name}; their items are encoded again")
        for path in damaged:
            with suppress(OSError):
                path.unlink()
        remove_left(self.folder)

    def add(self, digests: Sequence[str], rows: Tensor, tokens: Sequence[str]) -> None:
        """Stores (n, width) or (n, length, width) rows by the digests of their contents."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = write_shard(self.folder, Shard(rows.to("cpu", self.dtype).contiguous(), list(digests), list(tokens)))
        self._known.add(path)
        self._place.update((digest, (path, row)) for row, digest in enumerate(digests))

    def rows(self, digests: Sequence[str]) -> Tensor:
        """float32 (n, width) by digest, zeros for "". Raises KeyError for a digest that is not stored."""
        try:
            return self._rows(digests)
        except FileNotFoundError:  # another process has forgotten some rows of a shard
            self.reload()
            return self._rows(digests)

    def _rows(self, digests: Sequence[str]) -> Tensor:
        out, by_shard = torch.zeros(len(digests), self.width), defaultdict(list)
        for at, digest in enumerate(digests):
            if digest:
                path, row = self.place(digest)
                by_shard[path].append((at, row))
        for path, pairs in by_shard.items():
            at, row = torch.tensor(pairs).T
            with safe_open(str(path), framework="pt") as file:
                out[at] = file.get_tensor("features")[row].float()
        return out

    def place(self, digest: str) -> tuple[Path, int]:
        """The shard that holds a content, and its row in it. Raises KeyError for a digest that is not stored."""
        return self._place[digest]
