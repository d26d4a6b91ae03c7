"""Writing a picture pack: rows are appended to its two files such that a kill at any moment leaves them usable."""

import os
import re
from pathlib import Path

import torch


def read_journal(directory: Path, size: tuple[int, int]) -> dict[str, int]:
    """The valid rows of a pack: hash -> row number. The journal is read before the length of the pixels, so these rows are complete."""
    try:
        lines = (directory / "rows.txt").read_bytes().split(b"\n")[:-1]
        whole = (directory / "pixels.bin").stat().st_size // (3 * size[0] * size[1])
    except FileNotFoundError:
        return {}
    rows: dict[str, int] = {}
    for row, line in enumerate(lines[:whole]):
        digest = line.decode("latin-1")
        if digest in rows or not re.fullmatch("[0-9a-f]{32}", digest):
            break
        rows[digest] = row
    return rows


class PackWriter:
    """Appends rows to a pack. The caller holds the lock. Opening cuts off what a killed writer has left unfinished."""

    def __init__(self, directory: Path, size: tuple[int, int]):
        self.shape, self.row_bytes = (3, *size), 3 * size[0] * size[1]
        self.rows = read_journal(directory, size)
        self.chunk: dict[str, torch.Tensor] = {}
        self.pixels_path, self.journal_path = directory / "pixels.bin", directory / "rows.txt"
        for path, row_bytes in ((self.pixels_path, self.row_bytes), (self.journal_path, 33)):
            path.touch()
            os.truncate(path, len(self.rows) * row_bytes)

    def add(self, digest: str, pixels: torch.Tensor) -> None:
        """Adds a row, uint8 (3, H, W), unless the pack has it. It is written by the next `flush`."""
        if pixels.dtype != torch.uint8 or tuple(pixels.shape) != self.shape:
            raise ValueError(f"preprocess gave {pixels.dtype} {tuple(pixels.shape)}, the pack needs torch.uint8 {self.shape}")
        if digest not in self.rows:
            self.chunk.setdefault(digest, pixels)

    def flush(self) -> None:
        """Writes the waiting rows at their own offset, so that a flush that has failed halfway can be repeated."""
        start, digests = len(self.rows), list(self.chunk)
        _write(self.pixels_path, start * self.row_bytes, b"".join(p.numpy().tobytes() for p in self.chunk.values()))
        _write(self.journal_path, start * 33, "".join(digest + "\n" for digest in digests).encode())
        self.rows.update(zip(digests, range(start, start + len(digests)), strict=True))
        self.chunk.clear()


def _write(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
