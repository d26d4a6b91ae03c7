"""Pictures of forgotten items leave the packs of a cache."""

import re
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from recbole_mm.data.file_index import FileIndex
from recbole_mm.data.pack_writer import PackLayout, PackWriter, write_at
from recbole_mm.disk import locked

FOLDER = re.compile(r"images-.+-(any|\d+)x(\d+)")
NOTHING = "0" * 16
"""What the hash in a forgotten picture's line of the journal begins with; the number of the picture follows."""


def forget_pictures(cache_dir: Path, digests: Collection[str], paths: Collection[Path]) -> int:
    """Takes pictures out of all packs of a cache, and out of its index of files.

    A pack keeps its numbers of pictures, so that processes that read it meanwhile find every other picture as it was: the pixels of a
    forgotten one become zeros, and its line in the journal names no file any more. The line is written first, and whatever such lines stand
    for is made zero again, so that a call after a kill ends what was begun.

    Args:
        digests: of the picture files.
        paths: of the picture files; no other item has them.

    Returns:
        How many pictures were in a pack.
    """
    packs = [(folder, found) for folder in sorted(cache_dir.glob("images-*")) if (found := FOLDER.fullmatch(folder.name))]
    with ExitStack() as alone:
        for folder, _ in packs:
            alone.enter_context(locked(folder / "build.lock", f"packing pictures in {folder}"))
        files = FileIndex(cache_dir)
        gone = sum(_forget(folder, (None if found[1] == "any" else int(found[1]), int(found[2])), digests) for folder, found in packs)
        files.forget(digests, paths)
    return gone


def _forget(folder: Path, size: tuple[int | None, int], digests: Collection[str]) -> int:
    writer, layout = PackWriter(folder, size), PackLayout(size)
    ends = layout.read_journal(folder).ends
    named = [(row, digest) for digest, row in writer.rows.items() if digest in digests]
    empty = [row for digest, row in writer.rows.items() if digest.startswith(NOTHING)]
    for row, _ in named:
        write_at(writer.journal_path, row * layout.line_bytes, f"{NOTHING}{row:016x}".encode())
    for row in [*empty, *(row for row, _ in named)]:
        start = ends[row - 1] if row else 0
        write_at(writer.pixels_path, start, bytes(ends[row] - start))
    return len(named)
