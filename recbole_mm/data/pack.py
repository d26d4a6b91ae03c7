"""ImagePack: pictures decoded and resized once into a memory-mapped file of bytes, resumable after a kill at any moment."""

import os
import re
import time
from collections.abc import Callable, Container, Sequence
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from recbole_mm.data.file_index import FileIndex
from recbole_mm.data.image import BrokenImage, load_image, read_error
from recbole_mm.data.pack_writer import PackLayout, PackWriter, PictureSize
from recbole_mm.disk import locked
from recbole_mm.parallel.read_ahead import available_cores, read_ahead
from recbole_mm.terminal import Bar

CHUNK_ROWS = 256
"""Rows that are written at a time."""
PICTURES_AHEAD = 3
"""Decoded pictures per thread that wait in memory to be written."""
SAVE_SECONDS = 5.0
"""How often the index of files is saved meanwhile."""
RESIDENT_BYTES = 1 << 28
"""How much of a pack is mapped into memory before the mapping is renewed."""
PAGES_AROUND = 1 << 17
"""Bytes around a row that the system may map in with it."""

Preprocess = Callable[[Image.Image], torch.Tensor]


class ImagePack:
    """The valid pictures of a pack directory, by row number. They are read without a lock, while other processes may be appending.

    `pixels.bin` holds their bytes one after the other, and `rows.txt` one line per picture with the blake2b-128 hash of its file, and with
    the place where it ends if pictures differ in size. A line is written only after its pixels are on disk, so pictures that are complete
    in both files are always right.
    """

    def __init__(self, directory: Path, size: PictureSize):
        self.directory, self._layout = Path(directory), PackLayout(size)
        self._ends = np.array(self._layout.read_journal(self.directory).ends, dtype=np.int64)
        self._pixels: np.memmap | None = None
        self._mapped = 0

    def __len__(self) -> int:
        return len(self._ends)

    def digests(self) -> list[str]:
        """The hash of each row's picture file."""
        return list(self._layout.read_journal(self.directory).rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}

    def read(self, rows: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """The pixels of n rows, all zero for a row number of -1: uint8 (n, 3, H, W); or (n, L, B) where pictures differ in size, L being
        the length of the longest of them, with zeros after the others.

        Raises:
            IndexError: the pack has no such row.
        """
        rows = np.asarray(rows, dtype=np.int64).reshape(-1)
        wanted = rows >= 0
        if wanted.any() and rows.max() >= len(self):
            raise IndexError(f"row {rows.max()} of a pack of {len(self)} rows")
        ends = self._ends[rows[wanted]]
        starts = np.where(rows[wanted] > 0, self._ends[rows[wanted] - 1], 0)
        *lengths, last = self._layout.shape
        if self._layout.varies:
            lengths = [max(1, int((ends - starts).max(initial=0)) // last)]
        out = np.zeros((len(rows), *lengths, last), dtype=np.uint8)
        if wanted.any():
            pixels = self._pixels
            if pixels is None or self._mapped > RESIDENT_BYTES < pixels.nbytes:
                pixels = np.memmap(self.directory / "pixels.bin", np.uint8, "r", shape=(int(self._ends[-1]),))
                self._pixels, self._mapped = pixels, 0
            flat = out.reshape(len(rows), -1)
            for place, start, end in zip(wanted.nonzero()[0], starts, ends, strict=True):
                flat[place, : end - start] = pixels[start:end]
            self._mapped += int((ends - starts + PAGES_AROUND).sum())
        return torch.from_numpy(out)

    @classmethod
    def build(
        cls,
        cache_dir: Path,
        paths: Sequence[Path | None],
        preprocess: Preprocess,
        key: str,
        size: PictureSize,
        show_progress: bool = False,
    ) -> tuple["ImagePack", np.ndarray, dict[int, str]]:
        """Opens the pack of a preprocessing and adds the pictures that it lacks.

        Args:
            paths: n picture files, None for no picture.
            preprocess: RGB image -> uint8 (3, H, W), or (L, B) with a length of its own. It is called from several threads.
            key: a name for the preprocessing; together with `size` it names the pack's directory.
            size: (H, W), or (None, B).

        Returns:
            The pack; the row of each picture, int64 (n,), -1 for none; and why a picture is broken, by its index in `paths`.

        Raises:
            ValueError: `preprocess` returned another shape or dtype.
        """
        name = key if re.fullmatch(r"[\w.+-]{1,128}", key) else blake2b(key.encode(), digest_size=16).hexdigest()
        directory = Path(cache_dir) / f"images-{name}-{size[0] or 'any'}x{size[1]}"
        paths = [Path(path) if path is not None else None for path in paths]
        distinct = [path for path in dict.fromkeys(paths) if path is not None]
        survey = _survey(distinct, FileIndex(cache_dir), PackLayout(size).read_journal(directory).rows)
        if survey.unread:
            directory.mkdir(parents=True, exist_ok=True)
            with locked(directory / "build.lock", f"packing pictures in {directory}"):
                files, writer = FileIndex(cache_dir), PackWriter(directory, size)
                survey = _survey(distinct, files, writer.rows)
                _fill(survey, files, writer, preprocess, show_progress)
        row_of = np.array([survey.rows.get(path, -1) for path in paths], dtype=np.int64)
        broken = {i: survey.broken[path] for i, path in enumerate(paths) if path in survey.broken}
        return cls(directory, size), row_of, broken


class _Survey(NamedTuple):
    """What is known about each distinct path: its row; its [size, mtime_ns], if it must be read; or why it is broken."""

    rows: dict[Path, int]
    unread: dict[Path, list[int]]
    broken: dict[Path, str]


def _survey(paths: list[Path], files: FileIndex, packed: dict[str, int]) -> _Survey:
    survey = _Survey({}, {}, {})
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            survey.broken[path] = read_error(error)
            continue
        stamp = [status.st_size, status.st_mtime_ns]
        digest = files.digest(path, stamp)
        if digest in packed:
            survey.rows[path] = packed[digest]
        else:
            survey.unread[path] = stamp
    return survey


class _Picture(NamedTuple):
    digest: str | None
    pixels: torch.Tensor | None = None
    reason: str | None = None


def _decode(path: Path, preprocess: Preprocess, packed: Container[str]) -> _Picture:
    try:
        data = path.read_bytes()
    except OSError as error:
        return _Picture(None, reason=read_error(error))
    digest = blake2b(data, digest_size=16).hexdigest()
    if digest in packed:
        return _Picture(digest)
    try:
        return _Picture(digest, preprocess(load_image(BytesIO(data))))
    except BrokenImage as error:
        return _Picture(digest, reason=str(error))
    except Exception as error:  # one odd picture must not end a long run; too many of them do, with this reason
        return _Picture(digest, reason=f"preprocessing failed: {type(error).__name__}: {error}")


def _fill(survey: _Survey, files: FileIndex, writer: PackWriter, preprocess: Preprocess, show_progress: bool) -> None:
    """Adds the pictures of `survey.unread` to the pack, and enters each in `survey.rows` or `survey.broken`."""
    digests: dict[Path, str] = {}
    saved = time.monotonic()
    threads = available_cores()
    results = read_ahead(lambda path: _decode(path, preprocess, writer.rows), survey.unread, threads, PICTURES_AHEAD * threads)
    try:
        with Bar(results, "Packing pictures", len(survey.unread), disable=not show_progress) as progress:
            for path, (digest, pixels, reason) in zip(survey.unread, progress, strict=True):
                if reason is not None:
                    survey.broken[path] = reason
                    continue
                if pixels is not None:
                    writer.add(digest, pixels)
                digests[path] = digest
                files.record(path, survey.unread[path], digest)
                if len(writer.chunk) >= CHUNK_ROWS:
                    writer.flush()
                    if time.monotonic() - saved > SAVE_SECONDS:
                        files.save()
                        saved = time.monotonic()
    finally:
        results.close()
        writer.flush()
        files.save()
    survey.rows.update((path, writer.rows[digest]) for path, digest in digests.items())
