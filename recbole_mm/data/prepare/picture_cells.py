"""What the cell of a picture column names: one path, several of them, or web addresses, in the many ways in which people write them."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote

from recbole_mm.data.prepare.input_table import NESTED
from recbole_mm.data.prepare.sql import NO_NAME

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jfif")
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_SOURCE = re.compile(r"""\bsrc\s*=\s*(["'])(.*?)\1""", re.IGNORECASE)
_QUOTED = re.compile(r"""(["'])(.*?)\1""")


class PicturePath(NamedTuple):
    """A path that a cell names.

    Attributes:
        written: as it stands in the cell.
        parts: its folders and its file name.
        far: whether its first folders are none of the picture folder's: a web address, an absolute path, or one that leads out of it.
        web: whether it is a web address.
    """

    written: str
    parts: tuple[str, ...]
    far: bool
    web: bool


def paths_in(cell: str) -> list[PicturePath]:
    """The paths and web addresses in a cell, in their order."""
    return [path for path in map(picture_path, _pieces(cell)) if path.parts]


def picture_path(written: str) -> PicturePath:
    """Reads a path, whose folders may be separated by "/" or by backslashes, or a web address, whose query means nothing."""
    path, web = written.replace("\\", "/"), bool(_ADDRESS.match(written))
    if web:
        path = unquote(re.split(r"[?#]", path)[0]).partition("//")[2].partition("/")[2]
    far = web or path.startswith("/") or bool(re.match(r"[A-Za-z]:", path))
    path = path if web else re.sub(r"^[A-Za-z]:", "", path)
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            far, parts = far or not parts, parts[:-1]
        elif part.strip() not in ("", "."):
            parts.append(part.strip())
    return PicturePath(written, tuple(parts), far, web)


def split_name(name: str) -> tuple[str, str]:
    """A file name without its ending, and its ending in lower case if that is one of pictures."""
    stem, ending = os.path.splitext(name)
    return (stem, ending.lower()) if ending.lower() in ENDINGS else (name, "")


def folded(name: str) -> str:
    """A name in one form of Unicode and in lower case: equal for names that differ in nothing else."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _pieces(cell: str) -> list[str]:
    whole = cell.strip()
    if whole in NO_NAME:
        return []
    if "<img" in whole.lower():
        return [unescape(source) for _, source in _SOURCE.findall(whole)]
    if whole.startswith(NESTED) or whole[:1] + whole[-1:] in ("[]", "{}"):
        return [piece for piece in _listed(whole.removeprefix(NESTED)) if piece]
    pieces = [piece.strip(" '\"") for piece in re.split(r"[|;\t\r\n]+", whole)]
    for separator in (r"\s*,\s*", r"\s+"):
        pieces = [part for piece in pieces for part in _split(piece, separator)]
    return [piece for piece in dict.fromkeys([whole, *pieces] if len(pieces) > 1 else pieces) if piece]


def _split(piece: str, separator: str) -> list[str]:
    """The parts of a piece, if each of them is a picture or web address by itself."""
    parts = [part.strip("'\"") for part in re.split(separator, piece) if part]
    return parts if all(_ADDRESS.match(part) or split_name(part)[1] for part in parts) else [piece]


def _listed(text: str) -> list[str]:
    """The strings of a list or object: JSON, or as Python, numpy or PostgreSQL print it. Those that look like pictures come first."""
    try:
        found = list(_strings(json.loads(text)))
    except (ValueError, RecursionError):
        found = [match.group(2) for match in _QUOTED.finditer(text)] or text[1:-1].split(",")
    found = [piece.strip() for piece in found]
    return sorted(found, key=lambda piece: not (_ADDRESS.match(piece) or split_name(piece)[1]))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from _strings(element)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
