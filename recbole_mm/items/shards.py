"""Shards: the files of a feature store."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from recbole_mm.disk import write_whole
from recbole_mm.encoder.digests import tensor_bytes


class Shard(NamedTuple):
    """Some rows of a store. The file is named by the digests, and its metadata are JSON: both lists, and a checksum over all of it.

    Attributes:
        rows: (n, width), or (n, length, width) with a length of its own.
        digests: of the contents that the rows were made from.
        item_tokens: of one item per row, for people.
    """

    rows: Tensor
    digests: list[str]
    item_tokens: list[str]


def write_shard(folder: Path, shard: Shard) -> Path:
    """Writes a shard into a folder that is there; its file appears whole or not at all."""
    path = folder / f"{blake2b(' '.join(shard.digests).encode(), digest_size=16).hexdigest()}.safetensors"
    named = {"digests": shard.digests, "item_tokens": shard.item_tokens}
    metadata = {"rows": json.dumps({**named, "checksum": _checksum(shard.rows, named)})}
    write_whole(path, lambda file: save_file({"features": shard.rows}, file, metadata))
    return path


def read_names(path: Path) -> tuple[list[str], list[str]] | None:
    """The digests and the item tokens of a shard, without its rows; None if the file is damaged where they stand."""
    try:
        with safe_open(str(path), framework="pt") as file:
            named = json.loads(file.metadata()["rows"])
        return named["digests"], named["item_tokens"]
    except Exception:  # safetensors raises almost anything on damaged bytes
        return None


def read_shard(path: Path) -> Shard | None:
    """The shard in a file; None if the file is not as it was written."""
    try:
        with safe_open(str(path), framework="pt") as file:
            rows, named = file.get_tensor("features"), json.loads(file.metadata()["rows"])
        whole = named.pop("checksum") == _checksum(rows, named)
        return Shard(rows, named["digests"], named["item_tokens"]) if whole else None
    except Exception:  # safetensors raises almost anything on damaged bytes
        return None


def _checksum(rows: Tensor, named: dict[str, list[str]]) -> str:
    digest = blake2b(f"{rows.dtype} {tuple(rows.shape)} {json.dumps(named, sort_keys=True)}".encode(), digest_size=16)
    digest.update(tensor_bytes(rows))
    return digest.hexdigest()
