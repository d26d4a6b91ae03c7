"""The files in a folder of pictures, found by paths that may be written otherwise than they are on the disk."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recbole_mm.data.prepare.picture_cells import ENDINGS, PicturePath, folded, picture_path, split_name


class Match(NamedTuple):
    """A file that has been found.

    Attributes:
        name: its path below the folder.
        way: how it was found, in words.
        rivals: other files that would have done as well.
    """

    name: str
    way: str
    rivals: tuple[str, ...] = ()


AS_WRITTEN, OTHER_FOLDERS, OTHER_SPELLING, BY_ITEM = (
    "as written",
    "in other folders",
    "under another spelling or ending",
    "by the item's id",
)


class PictureIndex:
    """All files below a folder, by their names without ending, whatever their case and form of Unicode. Folders that are hidden, or
    ``but``, are left out."""

    def __init__(self, folder: Path, but: Path | None = None) -> None:
        self.files = 0
        self._by_stem: dict[str, list[str]] = {}
        self._by_folder: dict[str, list[str]] = {}
        self._by_number: dict[str, list[str]] | None = None
        for parent, folders, names in os.walk(folder):
            below = os.path.relpath(parent, folder)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(parent, name) != but)
            for name in sorted(names):
                stem, ending = split_name(name.replace("\\", "/").rpartition("/")[2])
                path = name if below == "." else f"{below}/{name}".replace(os.sep, "/")
                self._by_stem.setdefault(folded(stem.strip()), []).append(path)
                self.files += bool(ending)
                if ending and below != ".":
                    self._by_folder.setdefault(folded(os.path.basename(parent)), []).append(path)

    def examples(self, number: int = 3) -> list[str]:
        """The first few pictures."""
        found = (path for paths in self._by_stem.values() for path in paths if split_name(path)[1])
        return [path for path, _ in zip(found, range(number), strict=False)]

    def find(self, path: PicturePath) -> Match | None:
        """The file that a path means. Its folders and the file's must be the same from their ends on, as far as both have some; if they
        are not, the file must be the only one of its name."""
        stem, ending = split_name(path.parts[-1])
        found = [_Candidate(file, path, ending) for file in self._by_stem.get(folded(stem), ())]
        fitting = [candidate for candidate in found if candidate.fits]
        if not fitting:
            return Match(found[0].file, OTHER_FOLDERS) if len(found) == 1 else None
        best, *others = sorted(fitting, key=lambda candidate: candidate.rank)
        rivals = tuple(other.file for other in others if other.rank[:4] == best.rank[:4])
        return Match(best.file, best.way, rivals)

    def find_item(self, token: str) -> Match | None:
        """The picture that is called like an item, or the first one in a folder that is. A number may have zeros before it."""
        for found in (self._pictures(self._by_stem, folded(token)), self._pictures(self._by_folder, folded(token))):
            if found:
                return Match(found[0], BY_ITEM, tuple(found[1:]) if found[0] in self._by_stem.get(folded(token), ()) else ())
        if "/" in token or split_name(token)[1]:
            match = self.find(picture_path(token))
            return match and match._replace(way=BY_ITEM)
        number = _number(re.sub(r"\.0+$", "", token))
        if self._by_number is None:
            self._by_number = {}
            for stem, paths in self._by_stem.items():
                if _number(stem):
                    self._by_number.setdefault(_number(stem), []).extend(paths)
        found = self._pictures(self._by_number, number) if number else []
        return Match(found[0], BY_ITEM) if len({split_name(os.path.basename(path))[0] for path in found}) == 1 else None

    @staticmethod
    def _pictures(paths_of: dict[str, list[str]], key: str) -> list[str]:
        """The pictures of a name: those in the shallowest folder first, then by kind."""
        paths = [path for path in paths_of.get(key, ()) if split_name(path)[1]]
        return sorted(paths, key=lambda path: (path.count("/"), ENDINGS.index(split_name(path)[1]), _natural(path)))


class _Candidate:
    """A file whose name fits a path, and how well the rest of it does."""

    def __init__(self, file: str, path: PicturePath, ending: str) -> None:
        self.file = file
        parts = picture_path(file).parts
        agree = _common_end(parts[:-1], path.parts[:-1])
        missing, more = len(path.parts) - 1 - agree, len(parts) - 1 - agree
        self.fits = not missing or not more
        own = split_name(parts[-1])[1]
        other_ending = 0 if own == ending else 1 if not ending or {own, ending} == {".jpg", ".jpeg"} else 2
        respelt = parts[len(parts) - agree - 1 :] != path.parts[len(path.parts) - agree - 1 :]
        kind = ENDINGS.index(own) if own else len(ENDINGS)
        self.rank = (other_ending, -agree, missing + more, respelt, kind, file)
        self.way = OTHER_FOLDERS if missing or more else OTHER_SPELLING if respelt else AS_WRITTEN


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    """How many elements two sequences have in common at their ends."""
    number = 0
    while number < min(len(a), len(b)) and folded(a[-number - 1]) == folded(b[-number - 1]):
        number += 1
    return number


def _number(name: str) -> str:
    """A whole number without the zeros before it, "" for anything else."""
    return (name.lstrip("0") or "0") if name.isdecimal() else ""


def _natural(path: str) -> list[tuple[int, str]]:
    """A key that sorts 2.jpg before 10.jpg."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)]
