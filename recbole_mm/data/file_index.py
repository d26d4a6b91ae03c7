"""FileIndex: the hashes of known files, so that unchanged files are not read again."""

import json
import os
import time
from collections.abc import Collection
from pathlib import Path

from recbole_mm.disk import write_whole

SETTLED_NS = 2_000_000_000
"""How long ago a file must have been written for its hash to be recorded."""


class FileIndex:
    """The file `files.json` of a cache: path relative to the cache -> [size, mtime_ns, hash]."""

    def __init__(self, cache_dir: Path):
        self.root, self.path = os.path.abspath(cache_dir), Path(cache_dir) / "files.json"
        self.entries = self._read()

    def _read(self) -> dict[str, list]:
        try:
            entries = json.loads(self.path.read_bytes()).items()
        except (OSError, ValueError, AttributeError):
            return {}
        return {name: entry for name, entry in entries if isinstance(entry, list) and [*map(type, entry)] == [int, int, str]}

    def _name(self, path: Path) -> str:
        try:
            return os.path.relpath(path, self.root).replace(os.sep, "/")
        except ValueError:  # another drive
            return os.path.abspath(path)

    def digest(self, path: Path, stamp: list[int]) -> str | None:
        """The hash that is recorded for this path with this stamp, [size, mtime_ns], if there is one."""
        entry = self.entries.get(self._name(path))
        return entry[2] if entry is not None and entry[:2] == stamp else None

    def record(self, path: Path, stamp: list[int], digest: str) -> None:
        """Records the hash of a file. One that was written a moment ago is left out, since it could change again within the same tick of
        the clock of the file system."""
        if time.time_ns() - stamp[1] > SETTLED_NS:
            self.entries[self._name(path)] = [*stamp, digest]

    def save(self) -> None:
        """Writes the file in one step, and keeps what other processes have added to it."""
        self.entries = {**self._read(), **self.entries}
        write_whole(self.path, lambda file: file.write_text(json.dumps(self.entries)))

    def recorded(self, path: Path) -> str | None:
        """The last hash that is recorded for this path, whatever the file is now."""
        entry = self.entries.get(self._name(path))
        return None if entry is None else entry[2]

    def forget(self, digests: Collection[str], paths: Collection[Path]) -> None:
        """Leaves files out by their hashes and by their paths."""
        names = {self._name(path) for path in paths}
        left = {name: entry for name, entry in self.entries.items() if name not in names and entry[2] not in digests}
        if left != self.entries:
            self.entries = left
            write_whole(self.path, lambda file: file.write_text(json.dumps(left)))
