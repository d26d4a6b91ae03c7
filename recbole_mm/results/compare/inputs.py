"""The files that a cell reads: where they change, it is another cell."""

import os
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

from recbole_mm.config.levels import preset_files

BLOCK = 2**20
NAMING = ("feature_files", "feature_ids", "cold_items")
"""Keys that name files, which the data set's own settings may have as well."""


class InputFiles:
    """Digests of the files of cells, each file read once."""

    def __init__(self) -> None:
        self._known: dict[Path, bytes] = {}

    def digest(self, config, settings: Mapping[str, object]) -> str:
        """A digest of the data set's tables and settings, of the pictures by name and size, and of the files that settings name, those of
        a preset among them.

        Args:
            config: the configuration of a cell.
            settings: those that were asked for.
        """
        folder, digest = Path(config["data_path"]), blake2b(digest_size=16)
        for file in sorted(folder.glob(f"{config['dataset']}.*")):
            digest.update(f"{file.name}\0".encode() + self._content(file))
        for name, size in _pictures(folder / config["image_dir"]) if config["image_dir"] else ():
            digest.update(f"{name}\0{size}\0".encode())
        texts = {*_texts(settings), *_texts([config[key] for key in NAMING])}
        if config["preset"]:
            for file in preset_files(config.model_class, config["preset"]):
                digest.update(self._content(file))
        for file in sorted({path for text in texts for path in (Path(text), folder / text) if _is_file(path)}):
            digest.update(self._content(file.resolve()))
        return digest.hexdigest()

    def _content(self, file: Path) -> bytes:
        if file not in self._known:
            digest = blake2b(digest_size=16)
            with open(file, "rb") as content:
                while block := content.read(BLOCK):
                    digest.update(block)
            self._known[file] = digest.digest()
        return self._known[file]


def _pictures(folder: Path) -> Iterator[tuple[str, int]]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        yield from ((name, os.path.getsize(os.path.join(place, name))) for name in sorted(names))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
