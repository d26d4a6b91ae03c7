"""Writing a picture pack: pictures are appended to its two files such that a kill at any moment leaves them usable."""

import os
import re
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch

PictureSize = tuple[int | None, int]
"""(H, W) of pictures of one size, or (None, B) where each is a sequence of so many rows of B bytes as its own shape asks for."""


class Journal(NamedTuple):
    """The valid pictures of a pack: ``rows``: hash -> number of the picture; ``ends``: where each ends in `pixels.bin`, in bytes."""

    rows: dict[str, int]
    ends: list[int]


class PackLayout:
    """How the pictures of a pack lie in its files.

    Attributes:
        shape: of a picture: (3, H, W), or (None, B) where the first dimension differs from picture to picture.
        line_bytes: of a line of `rows.txt`.
    """

    def __init__(self, size: PictureSize):
        self.shape = tuple(size) if size[0] is None else (3, *size)
        self.varies = size[0] is None
        self.line_bytes = 46 if self.varies else 33

    def fits(self, pixels: torch.Tensor) -> bool:
        """Whether a picture is uint8 of this shape."""
        shape = (*pixels.shape[:1], *self.shape[1:]) if self.varies else self.shape
        return pixels.dtype == torch.uint8 and pixels.shape == shape and bool(pixels.numel())

    def line(self, digest: str, end: int) -> str:
        """A picture's line in the journal: its hash, and where its bytes end if its size does not say that."""
        return f"{digest} {end:012x}\n" if self.varies else f"{digest}\n"

    def read_journal(self, directory: Path) -> Journal:
        """The journal of a pack. It is read before the length of the pixels, so the pictures in it are complete."""
        try:
            lines = (directory / "rows.txt").read_bytes().split(b"\n")[:-1]
            written = (directory / "pixels.bin").stat().st_size
        except FileNotFoundError:
            return Journal({}, [])
        form = re.compile("([0-9a-f]{32}) ([0-9a-f]{12})" if self.varies else "([0-9a-f]{32})")
        journal, end = Journal({}, []), 0
        for row, line in enumerate(lines):
            found = form.fullmatch(line.decode("latin-1"))
            start, end = end, int(found[2], 16) if found and self.varies else end + prod(self.shape)
            whole = start < end <= written and (end - start) % prod(self.shape[1:]) == 0
            if not found or found[1] in journal.rows or not whole:
                break
            journal.rows[found[1]] = row
            journal.ends.append(end)
        return journal


class PackWriter:
    """Appends pictures to a pack. The caller holds the lock. Opening cuts off what a killed writer has left unfinished."""

    def __init__(self, directory: Path, size: PictureSize):
        self.layout = PackLayout(size)
        self.rows, ends = self.layout.read_journal(directory)
        self.end = ends[-1] if ends else 0
        self.chunk: dict[str, torch.Tensor] = {}
        self.pixels_path, self.journal_path = directory / "pixels.bin", directory / "rows.txt"
        for path, length in ((self.pixels_path, self.end), (self.journal_path, len(self.rows) * self.layout.line_bytes)):
            path.touch()
            os.truncate(path, length)

    def add(self, digest: str, pixels: torch.Tensor) -> None:
        """Adds a picture, uint8 of the layout's shape, unless the pack has it. It is written by the next `flush`."""
        if not self.layout.fits(pixels):
            raise ValueError(f"preprocess gave {pixels.dtype} {tuple(pixels.shape)}, the pack needs torch.uint8 {self.layout.shape}")
        if digest not in self.rows:
            self.chunk.setdefault(digest, pixels)

    def flush(self) -> None:
        """Writes the waiting pictures at their own offset, so that a flush that has failed halfway can be repeated."""
        start, end, lines = len(self.rows), self.end, []
        for digest, pixels in self.chunk.items():
            end += pixels.numel()
            lines.append(self.layout.line(digest, end))
        write_at(self.pixels_path, self.end, b"".join(pixels.numpy().tobytes() for pixels in self.chunk.values()))
        write_at(self.journal_path, start * self.layout.line_bytes, "".join(lines).encode())
        self.rows.update(zip(self.chunk, range(start, start + len(lines)), strict=True))
        self.end = end
        self.chunk.clear()


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Writes into a file that is there; the data are on the disk when this returns."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
