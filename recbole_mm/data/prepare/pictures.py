"""Pictures: found by the paths in a column or by the ids of the items, and copied into the data set."""

import os
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

from tqdm import tqdm

from recbole_mm.data.picture_paths import links_out
from recbole_mm.data.prepare.picture_cells import PicturePath, folded, paths_in, picture_path
from recbole_mm.data.prepare.picture_index import OTHER_FOLDERS, Match, PictureIndex
from recbole_mm.errors import InputError

NAMED = 5
THREADS = 8
_UNSAFE = "".join(map(chr, [*range(32), 127])) + '"\\%'


class Pictures:
    """The pictures of a folder. Nothing is decoded here.

    Args:
        column: the column of the item table that names each item's picture. None: a file that is called like the item is looked for.
        but: a folder below it that is no part of it.

    Attributes:
        of_item: the path below ``images/`` of each item that has a picture.
        names: the pictures that have been found: path below ``images/`` -> file.
        ways: how many were found in which way.
        named: how many items name a picture, or could have one that is called like them.
        missing: how many of these have none.
        first_missing: the first of them, with what they name.
        outside: whether one of them names a path that leads out of the folder.
        rivals: for how many items several files would have done, and the first of them.
        shared: how many items were left without one, since paths to different folders would all have meant the same file.
    """

    def __init__(self, folder: Path, column: str | None, but: Path | None = None) -> None:
        self.folder, self.column = folder, column
        self.index = PictureIndex(folder, but)
        self.of_item: dict[str, str] = {}
        self.names: dict[str, Path] = {}
        self.ways: Counter[str] = Counter()
        self.named = self.missing = self.rivals = self.shared = 0
        self.first_missing: list[str] = []
        self.first_rivals, self.outside = "", False

    def find(self, items: Iterable[tuple[str, str | None]]) -> None:
        """Finds the picture of every item, given its token and the cell of the column.

        Where no path of a table, or no web address of it, means a file, or where all cells are empty, those items get pictures that are
        called like them.

        Raises:
            InputError: a picture is a link that leads out of the folder.
        """
        found: dict[str, tuple[PicturePath, Match]] = {}
        without: dict[bool, list[tuple[str, str]]] = {False: [], True: []}  # by whether the cell holds web addresses alone
        nameless: list[tuple[str, str]] = []
        for token, cell in items:
            paths = paths_in(cell or "") if self.column else []
            pair = next(((path, match) for path in paths if (match := self._find(path, paths))), None)
            if pair:
                found[token] = pair
            elif paths:
                without[all(path.web for path in paths)].append((token, min((path.written for path in paths), key=len)))
                self.outside |= any(path.far and not path.web for path in paths)
            else:
                nameless.append((token, ""))
        if not found and not any(without.values()):
            without[False] = nameless
        self.named = len(found) + len(without[False]) + len(without[True])
        for token in self._sharing(found):
            path, _ = found.pop(token)
            without[path.web].append((token, path.written))
            self.shared += 1
        by_web = {path.web for path, _ in found.values()}
        for token, (_, match) in found.items():
            self._take(token, match)
        for web, items_without in without.items():
            for token, written in items_without:
                match = None if web in by_web else self.index.find_item(token)
                if match:
                    self._take(token, match)
                else:
                    self._miss(token, written)

    def _find(self, path: PicturePath, paths: list[PicturePath]) -> Match | None:
        """The file of a path. The whole of a cell that holds several paths is one only if it is written just so."""
        match = self.index.find(path)
        if match and match.way == OTHER_FOLDERS and path is paths[0] and any(other.written in path.written for other in paths[1:]):
            return None
        return match or (self.index.find(picture_path(unquote(path.written))) if "%" in path.written and not path.web else None)

    @staticmethod
    def _sharing(found: dict[str, tuple[PicturePath, Match]]) -> list[str]:
        """Items whose path was shortened to a file that other items reach by another path: p1/main.jpg and p2/main.jpg to main.jpg."""
        ends = {token: tuple(map(folded, reversed(path.parts))) for token, (path, _) in found.items()}
        longest: dict[str, tuple[str, ...]] = {}
        for token, (_, match) in found.items():
            longest[match.name] = max(longest.get(match.name, ()), ends[token], key=len)
        clash = {match.name for token, (_, match) in found.items() if longest[match.name][: len(ends[token])] != ends[token]}
        return [token for token, (_, match) in found.items() if match.way == OTHER_FOLDERS and match.name in clash]

    def _miss(self, token: str, written: str) -> None:
        self.missing += 1
        if self.missing <= NAMED:
            shown = written if len(written) <= 60 else f"{written[:28]}...{written[-28:]}"
            self.first_missing.append(f"{token} ({shown})" if shown else token)

    def _take(self, token: str, match: Match) -> None:
        if links_out(self.folder, match.name):
            raise InputError(f"item {token}: picture {match.name!r} is a link out of {self.folder}; put the picture itself there")
        file = self.folder / match.name
        safe = _safe(unicodedata.normalize("NFC", match.name))
        if self.names.get(safe, file) != file:
            safe = _safe(match.name)
        self.names[safe], self.of_item[token] = file, safe
        self.ways[match.way] += 1
        self.rivals += bool(match.rivals)
        if match.rivals and not self.first_rivals:
            self.first_rivals = f"{match.name} and not {match.rivals[0]}"

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
