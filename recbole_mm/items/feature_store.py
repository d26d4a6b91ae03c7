"""FeatureStore: encoded rows on disk, each named by the content it was made from."""

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from logging import getLogger
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from recbole_mm.disk import remove_left, write_whole
from recbole_mm.encoder.digests import tensor_bytes

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
logger = getLogger(__name__)


class FeatureStore:
    """The rows of one encoder in one modality, in a folder of safetensors files, its shards.

    A shard holds ``features`` (n, width), or (n, length, width) with a length of its own. Its metadata are JSON lists with the
    ``digests`` of its rows' contents and with the token of one item per row (``item_tokens``, for people), and a ``checksum`` over all
    of them. Shards appear whole or not at all, never change, and are named by their digests, so any number of processes may write at
    the same time without a lock. Damaged shards are removed with a warning, and their rows count as not stored.

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
        """Finds the shards that this or any other process has added since the last time."""
        damaged = []
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._known):
            digests = self._check(path)
            if digests is None:
                damaged.append(path)
                continue
            self._known.add(path)
            for row, digest in enumerate(digests):
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
        rows, named = rows.to("cpu", self.dtype).contiguous(), {"digests": list(digests), "item_tokens": list(tokens)}
        path = self.folder / f"{blake2b(' '.join(digests).encode(), digest_size=16).hexdigest()}.safetensors"
        metadata = {"rows": json.dumps({**named, "checksum": _checksum(rows, named)})}
        write_whole(path, lambda file: save_file({"features": rows}, file, metadata))
        self._known.add(path)
        self._place.update((digest, (path, row)) for row, digest in enumerate(digests))

    def rows(self, digests: Sequence[str]) -> Tensor:
        """float32 (n, width) by digest, zeros for "". Raises KeyError for a digest that is not stored."""
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

    def _check(self, path: Path) -> list[str] | None:
        """The digests of a shard's rows; None if the file is not as it was written."""
        try:
            with safe_open(str(path), framework="pt") as file:
                rows, named = file.get_tensor("features"), json.loads(file.metadata()["rows"])
            whole = named.pop("checksum") == _checksum(rows, named) and rows.dtype == self.dtype and rows.shape[-1] == self.width
            return named["digests"] if whole else None
        except Exception:  # safetensors raises almost anything on damaged bytes
            return None


def _checksum(rows: Tensor, named: dict[str, list[str]]) -> str:
    digest = blake2b(f"{rows.dtype} {tuple(rows.shape)} {json.dumps(named, sort_keys=True)}".encode(), digest_size=16)
    digest.update(tensor_bytes(rows))
    return digest.hexdigest()
