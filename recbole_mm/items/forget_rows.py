"""Rows of forgotten items leave a feature store."""

from collections.abc import Collection, Mapping
from pathlib import Path

from recbole_mm.disk import remove_left
from recbole_mm.items.shards import Shard, read_names, read_shard, write_shard


def digests_of(folder: Path, tokens: Collection[str]) -> set[str]:
    """The digests of the contents that the shards of a folder name by one of these items."""
    named = filter(None, map(read_names, folder.glob("*.safetensors")))
    return {digest for names in named for digest, token in zip(*names, strict=True) if token in tokens}


def forget_rows(folder: Path, tokens: Collection[str], digests: Collection[str], kept: Mapping[str, str]) -> int:
    """Takes the rows of forgotten items out of the shards of a folder: features, hidden states or tokens of an encoder. Other rows stay as
    they are, bit for bit, and a content that a kept item shares is named by that one from then on.

    The new shard is there before the old one goes, so that processes that read the store meanwhile find every kept row, and a call after a
    kill ends what was begun. Damaged shards go as well.

    Args:
        tokens: the forgotten items.
        digests: of their contents, as far as they are known; what a shard names by one of ``tokens`` is theirs as well.
        kept: digest -> the token of a kept item that has this content.

    Returns:
        How many rows are gone.
    """
    gone = 0
    for path in sorted(folder.glob("*.safetensors")):
        names = read_names(path)
        before, named = names or ([], [])
        rows = [
            row for row, (digest, token) in enumerate(zip(before, named, strict=True))
            if digest in kept or (digest not in digests and token not in tokens)
        ]  # fmt: skip
        left = [before[row] for row in rows], [kept[before[row]] if named[row] in tokens else named[row] for row in rows]
        if left == names:
            continue
        shard = read_shard(path) if rows else None
        new = write_shard(folder, Shard(shard.rows[rows].contiguous(), *left)) if shard else None
        if new != path:
            path.unlink()
        gone += len(before) - len(rows)
    remove_left(folder)
    return gone
