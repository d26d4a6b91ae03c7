"""Rewrites files that DuckDB cannot read as they are: other encodings, mixed line ends, and lines that are Python dicts."""

import ast
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from recbole_mm.errors import InputError

CHUNK = 1 << 20
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged .gz file raises."""


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
