"""The journal of an exported folder: which items have been added to it and removed from it since, for all processes that serve it."""

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from zlib import crc32

import numpy as np
from filelock import FileLock

from recbole_mm.errors import InputError

NAME = "added.jsonl"


class JournalError(InputError):
    """The journal cannot be read or written any more by who has it open. The message is one line."""


@dataclass(frozen=True)
class AddedItem:
    """An item that was added.

    Attributes:
        vector: the model's, float32 (d,).
        features: by modality, float32 (d,).
        present: which of the modalities the item has.
        thumbnail: a JPEG; None without a picture.
    """

    item: str
    vector: np.ndarray
    features: Mapping[str, np.ndarray]
    present: Mapping[str, bool]
    title: str = ""
    thumbnail: bytes | None = None


@dataclass(frozen=True)
class RemovedItem:
    """An item that was removed."""

    item: str


Entry = AddedItem | RemovedItem


class Journal:
    """The file ``added.jsonl``, to which several processes append, and which each of them reads as it grows.

    A line is ``{"crc32": ..., "left": ..., "entry": {...}}``: the checksum of the entry as it is written, and how many more lines belong to
    the same batch. A batch counts when it is there as a whole. What a process leaves half when it is killed is never read, and the next one
    that appends cuts it off.

    Args:
        folder: the exported folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self._folder = folder / NAME, os.stat(folder).st_ino
        self._name = str(self.file)
        self._taken = self._lines = 0
        self._seen: tuple[int, int] | None = None

    def append(self, batch: Sequence[Entry]) -> None:
        """Writes a batch, which is on the disk when this returns.

        Raises:
            JournalError: the folder has been exported anew since this journal was opened, or the journal is damaged.
            OSError: the disk is full or cannot be written.
        """
        lines = b"".join(_line(entry, len(batch) - place) for place, entry in enumerate(batch, 1))
        with FileLock(self.file.with_name(f"{NAME}.lock")):
            if self._is_another():
                raise JournalError(f"{self.file.parent} has been exported anew: load it again")
            new = not self.file.exists()
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            with open(descriptor, "r+b", buffering=0) as file:
                end = self._taken + self._batches(self._rest(file))[1]
                file.truncate(end)
                file.seek(end)
                try:
                    _write_all(file, lines)
                    os.fsync(descriptor)
                except OSError:
                    file.truncate(end)
                    raise
            if new:
                _sync_folder(self.file.parent)

    def news(self) -> list[Entry]:
        """What has been journalled since this was last called, whole batches alone; nothing once the folder has been exported anew.

        Raises:
            JournalError: the journal is damaged.
        """
        try:
            status = os.stat(self._name)
        except FileNotFoundError:
            return []
        if (status.st_size, status.st_mtime_ns) == self._seen or self._is_another():
            return []
        with open(self.file, "rb") as file:
            found, length = self._batches(self._rest(file))
        self._taken, self._lines, self._seen = self._taken + length, self._lines + len(found), (status.st_size, status.st_mtime_ns)
        return found

    def _rest(self, file) -> bytes:
        """The file behind what has been taken over."""
        if file.seek(0, os.SEEK_END) < self._taken:
            raise JournalError(f"{self.file} is shorter than it was: load {self.file.parent} again")
        file.seek(self._taken)
        return file.read()

    def _batches(self, text: bytes) -> tuple[list[Entry], int]:
        """The entries of the whole batches at the head of ``text``, and how long these are."""
        found, batch, length, end = [], [], 0, 0
        lines = text.splitlines(keepends=True)
        for place, line in enumerate(lines):
            end += len(line)
            parsed = _parsed(line)
            if parsed is None:
                if any(_parsed(later) for later in lines[place + 1 :]):
                    raise JournalError(f"{self.file}: line {self._lines + place + 1} is damaged")
                break
            entry, left = parsed
            batch.append(entry)
            if left == 0:
                found, batch, length = found + batch, [], end
        return found, length

    def _is_another(self) -> bool:
        """Whether another folder stands in the place of the one that was opened."""
        return os.stat(self.file.parent).st_ino != self._folder


def _line(entry: Entry, left: int) -> bytes:
    if isinstance(entry, RemovedItem):
        content = {"removed": entry.item}
    else:
        content = {"added": entry.item, "title": entry.title, "vector": _text(entry.vector),
                   "features": {modality: _text(row) for modality, row in entry.features.items()},
                   "present": {modality: bool(here) for modality, here in entry.present.items()},
                   "thumbnail": None if entry.thumbnail is None else b64encode(entry.thumbnail).decode()}  # fmt: skip
    text = dumps(content)
    return f'{{"crc32": "{crc32(text.encode()):08x}", "left": {left}, "entry": {text}}}\n'.encode()


def _parsed(line: bytes) -> tuple[Entry, int] | None:
    """The entry of a line, and how many more lines belong to its batch. None for a line that is torn or damaged."""
    head, _, rest = line.partition(b'"entry": ')
    if not rest.endswith(b"}\n"):
        return None
    try:
        checksum = loads(head.rstrip(b", ") + b"}")
        if int(checksum["crc32"], 16) != crc32(rest[:-2]):
            return None
        content, left = loads(rest[:-2]), int(checksum["left"])
    except (ValueError, KeyError, TypeError):
        return None
    if "removed" in content:
        return RemovedItem(content["removed"]), left
    thumbnail = content["thumbnail"]
    return AddedItem(
        content["added"], _vector(content["vector"]), {modality: _vector(row) for modality, row in content["features"].items()},
        content["present"], content["title"], None if thumbnail is None else b64decode(thumbnail),
    ), left  # fmt: skip


def _text(vector: np.ndarray) -> str:
    return b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def _vector(text: str) -> np.ndarray:
    return np.frombuffer(b64decode(text), dtype="<f4").astype(np.float32)


def _write_all(file, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_folder(folder: Path) -> None:
    """Makes the name of a new file last; Windows has no such thing."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
