"""Pictures: found by a column's paths or by the items' names, and brought into the data set."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from recbole_mm.data.picture_paths import links_out, resolve_image_path
from recbole_mm.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jfif")
NAMED = 5
THREADS = 8
_UNSAFE = "".join(map(chr, [*range(32), 127])) + '"\\%'


class Pictures:
    """The pictures of a folder, those that are asked for in ``names`` (path below ``images/`` -> file).

    ``by_path``: items name theirs by a path (below the folder, or absolute inside it), else a file named by the item is looked for.
    Nothing is decoded here.
    """

    def __init__(self, folder: Path, by_path: bool) -> None:
        self.folder, self.by_path = folder, by_path
        self.names: dict[str, Path] = {}
        self.missing, self.first_missing = 0, []
        self._index: dict[str, str] | None = None

    def find(self, token: str, cell: str | None) -> str:
        """The path below ``images/`` of an item's picture, "" for none. A path that leads to no file is counted as missing.

        Raises:
            InputError: a path or a link out of the folder.
        """
        wanted = (cell or "").strip()
        by_path = self.by_path and not wanted.lower().startswith(("http://", "https://"))
        if by_path and not wanted:
            return ""
        name = self._at(token, wanted) if by_path else self.index.get(token)
        if name is None:
            self.missing += 1
            if self.missing <= NAMED:
                self.first_missing.append(f"{token} ({wanted})" if by_path else token)
            return ""
        if links_out(self.folder, name):
            raise InputError(f"item {token}: picture {name!r} is a link out of {self.folder}; put the picture itself there")
        safe = _safe(name)
        self.names[safe] = self.folder / name
        return safe

    def _at(self, token: str, wanted: str) -> str | None:
        """The path below the folder that a cell means, None where there is no such file; the folder's own name may stand before it."""
        inside = os.path.relpath(wanted, self.folder.absolute()) if os.path.isabs(wanted) else wanted
        try:
            path = resolve_image_path(self.folder, inside)
            if not path.is_file() and inside.startswith(f"{self.folder.name}/"):
                path = resolve_image_path(self.folder, inside.partition("/")[2])
        except InputError as error:
            raise InputError(
                f"item {token}: picture {wanted!r} lies outside {self.folder}, by its path or as a link out of it; "
                "give the folder that holds all of them as --images"
            ) from error
        return path.relative_to(self.folder).as_posix() if path.is_file() else None

    @property
    def index(self) -> dict[str, str]:
        """Name without ending (of the file, or of its path below the folder) -> path below the folder; the shallowest counts."""
        if self._index is None:
            found = []
            for parent, _, files in os.walk(self.folder):
                below = Path(parent).relative_to(self.folder)
                for file in files:
                    stem, ending = os.path.splitext(file)
                    if ending.lower() in ENDINGS:
                        found.append((len(below.parts), ENDINGS.index(ending.lower()), (below / file).as_posix(), stem))
            self._index = {}
            for _, _, path, stem in sorted(found):
                self._index.setdefault(stem, path)
                self._index.setdefault(os.path.splitext(path)[0], path)
        return self._index

    def bring(self, target: Path, link: str) -> None:
        """Copies (or hard-links, where the file system can) the pictures that were found to ``target``."""
        for folder in {(target / name).parent for name in self.names} | {target}:
            folder.mkdir(parents=True, exist_ok=True)

        def one(pair: tuple[str, Path]) -> None:
            name, file = pair
            if link == "hardlink":
                try:
                    return os.link(os.path.realpath(file), target / name)
                except OSError:
                    pass
            shutil.copyfile(file, target / name)
            shutil.copystat(file, target / name)

        bar = tqdm(total=len(self.names), desc="pictures", unit="file", delay=2, disable=not sys.stderr.isatty())
        with bar, ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(one, self.names.items()):
                bar.update()


def _safe(path: str) -> str:
    """A relative path that is the same in an atomic file and on every file system: what is odd in it is percent-encoded."""
    parts = []
    for part in path.split("/"):
        cleaned = "".join(quote(c, safe="") if c in _UNSAFE or not c.isprintable() else c for c in part)
        edge = cleaned.strip(" ")
        parts.append(cleaned.replace(" ", "%20") if edge != cleaned else cleaned)
    return "/".join(parts)
