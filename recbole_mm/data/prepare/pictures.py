"""Pictures: found by the paths in a column or by the tokens of the items, and copied into the data set."""

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
    """The pictures of a folder. Nothing is decoded here.

    Args:
        by_path: a column of the item table holds the path of each item's picture, below the folder or absolute inside it. Otherwise a
            file that is called like the item is looked for.

    Attributes:
        names: the pictures that have been found: path below ``images/`` -> file.
        missing: how many items name a picture that does not exist.
        first_missing: the first of these items.
    """

    def __init__(self, folder: Path, by_path: bool) -> None:
        self.folder, self.by_path = folder, by_path
        self.names: dict[str, Path] = {}
        self.missing, self.first_missing = 0, []
        self._index: dict[str, str] | None = None

    def find(self, token: str, cell: str | None) -> str:
        """The path below ``images/`` of an item's picture, "" for none. A path that leads to no file is counted in ``missing``.

        Raises:
            InputError: a path or a link leads out of the folder.
        """
        wanted = (cell or "").strip()
        by_path = self.by_path and not wanted.lower().startswith(("http://", "https://"))
        if by_path and not wanted:
            return ""
        name = self._path_below(token, wanted) if by_path else self.index.get(token)
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

    def _path_below(self, token: str, wanted: str) -> str | None:
        """The path below the folder that a cell means, None if there is no such file. The cell may begin with the name of the folder."""
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
        """The pictures by name: the name of the file without its ending, or its path below the folder without its ending -> path below the
        folder. Of several files with one name the one in the shallowest folder counts."""
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
        """Copies the pictures that have been found to ``target``, or hard-links them if the file system can."""
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
    """A relative path that stays the same in an atomic file and on every file system: unusual characters are percent-encoded."""
    parts = []
    for part in path.split("/"):
        cleaned = "".join(quote(c, safe="") if c in _UNSAFE or not c.isprintable() else c for c in part)
        edge = cleaned.strip(" ")
        parts.append(cleaned.replace(" ", "%20") if edge != cleaned else cleaned)
    return "/".join(parts)
