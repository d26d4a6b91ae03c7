"""Rewrites files that DuckDB cannot read as they are: other packings and encodings, mixed line ends, and lines that are Python dicts."""

import ast
import bz2
import gzip
import json
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from recbole_mm.errors import InputError, listed

CHUNK = 1 << 20
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, lzma.LZMAError, NotImplementedError)
"""What reading a damaged packed file raises."""


def open_text(path: Path, encoding: str = "utf-8", errors: str = "strict") -> IO[str]:
    """Opens a text file without changing its line ends; one whose name ends in .gz is unpacked.

    Raises:
        InputError: there is no such encoding.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        return opener(path, "rt", encoding=encoding, errors=errors, newline="")
    except LookupError as error:
        raise InputError(f"--encoding={encoding}: {error}") from error


def unpacked(path: Path, scratch: Path) -> Path:
    """The file itself; or, if it is packed in a way that DuckDB does not read (.zip, .bz2, .xz), a copy of what is in it.

    Raises:
        InputError: a .zip file holds several files, or none.
    """
    ending = path.suffix.lower()
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
            if len(names) != 1:
                raise InputError(f"{path} holds {listed(names[:5])}; unpack it and name the table")
            target = scratch / Path(names[0]).name
            with archive.open(names[0]) as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy)
    elif ending in (".bz2", ".xz"):
        target = scratch / path.stem
        with (bz2.open if ending == ".bz2" else lzma.open)(path) as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy)
    else:
        return path
    return target


def wide_encoding(path: Path) -> str | None:
    """ "utf-16" or a kind of it, if the first bytes of a text file say so."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        head = file.read(4)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if head[1:2] == b"\0" != head[:1] else "utf-16-be" if head[:1] == b"\0" != head[1:2] else None


def is_utf8(path: Path) -> bool:
    """Whether a text file can be read as UTF-8."""
    try:
        with open_text(path) as source:
            while source.read(CHUNK):
                pass
    except UnicodeError:
        return False
    return True


def to_utf8(path: Path, encoding: str, scratch: Path) -> Path:
    """Writes a copy of the file in UTF-8 to the folder ``scratch``.

    Raises:
        InputError: there is no such encoding, or the file is not in it.
    """
    target = scratch / path.name.removesuffix(".gz")
    try:
        with open_text(path, encoding) as source, open(target, "w", encoding="utf-8", newline="") as copy:
            while chunk := source.read(CHUNK):
                copy.write(chunk)
    except UnicodeError as error:
        raise InputError(f"{path} is not {encoding} ({error.reason}); say which with --encoding=NAME") from error
    return target


def with_line_feeds(path: Path, scratch: Path) -> Path:
    """The file itself; or, if it has carriage returns, a copy with line feeds only, since DuckDB loses rows where line ends are mixed."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as source:
        if path.suffix == ".zst" or not any(b"\r" in chunk for chunk in iter(lambda: source.read(CHUNK), b"")):
            return path
    target = scratch / ("lf-" + path.name.removesuffix(".gz"))
    text = {"encoding": "utf-8", "errors": "surrogateescape"}
    with opener(path, "rt", newline=None, **text) as lines, open(target, "w", newline="\n", **text) as copy:
        while chunk := lines.read(CHUNK):
            copy.write(chunk)
    return target


def without_first_lines(path: Path, number: int, scratch: Path) -> Path:
    """The file itself; or, if ``number`` is not 0, a copy without so many lines at its beginning, of which versions of DuckDB count the
    blank ones differently."""
    if not number:
        return path
    target, bytes_kept = scratch / ("cut-" + path.name.removesuffix(".gz")), {"encoding": "utf-8", "errors": "surrogateescape"}
    with open_text(path, errors="surrogateescape") as source, open(target, "w", newline="", **bytes_kept) as copy:
        for _ in range(number):
            source.readline()
        shutil.copyfileobj(source, copy)
    return target


def has_python_lines(path: Path) -> bool:
    """Whether the first line that is not blank is a Python dict and not JSON."""
    with open_text(path, errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
    try:
        json.loads(first)
    except ValueError:
        return isinstance(_literal(first), dict)
    return False


def to_json_lines(path: Path, scratch: Path) -> Path:
    """Writes a copy in which lines that are Python dicts become JSON and others stay as they are. Nothing in the file is executed."""
    target = scratch / (path.name.removesuffix(".gz") + ".jsonl")
    with open_text(path, errors="surrogateescape") as source, open(target, "w", encoding="utf-8", errors="surrogateescape") as copy:
        copy.writelines(_json_lines(source))
    return target


def _json_lines(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        value = _literal(line)
        yield json.dumps(value, default=str) + "\n" if isinstance(value, dict) else line.rstrip("\r\n") + "\n"


def _literal(line: str) -> object:
    try:
        return ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
