"""Atomic files, RecBole's tables: a line of ``name:type`` cells, and then one line per row. They are read as strings."""

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_mm.data.atomic_header import read_header, unquoted
from recbole_mm.errors import InputError

HEADER_BYTES = 2**16
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class AtomicFile:
    """The rows of an atomic file.

    Attributes:
        kinds: the type of every column by its name, as the header writes it, in the order of the file.
        columns: the cells of every column by its name.
        lines: the number of the line that each row begins at; the header is line 1.
    """

    path: Path
    kinds: dict[str, str]
    columns: dict[str, list[str]]
    lines: Sequence[int]


def read_kinds(path: str | Path, field_separator: str = "\t", encoding: str = "utf-8") -> dict[str, str]:
    """The type of every column by its name, from the header alone.

    Raises:
        InputError: as for ``read_atomic_file``, as far as the header shows it.
    """
    return read_header(Path(path), _lines(path, _text(path, encoding, HEADER_BYTES))[0], field_separator)


def read_atomic_file(path: str | Path, field_separator: str = "\t", encoding: str = "utf-8") -> AtomicFile:
    """Reads a file (``.inter``, ``.item``, ``.user`` and so on).

    Quotes inside a cell mean nothing at first. Only if the cells then do not fit the header is the file read as quoted csv, in which
    separators and line breaks may stand inside quotes. Blank lines and a byte-order mark are skipped.

    Raises:
        InputError: the file is missing, empty or not in this encoding, a header cell is not ``name:type``, or a line has more or fewer
            cells than the header.
    """
    path = Path(path)
    lines = _lines(path, _text(path, encoding))
    kinds = read_header(path, lines[0], field_separator)
    width = len(kinds)
    rows = {number: line for number, line in enumerate(lines[1:], start=2) if width == 1 or line.strip(" ")}
    misfits = [number for number, line in rows.items() if line.count(field_separator) != width - 1]
    if misfits:
        quoted = _quoted_rows(path, lines, field_separator, width, misfits)
        rows, columns = [number for number, _ in quoted], [[row[at] for _, row in quoted] for at in range(width)]
    else:
        cells = field_separator.join(rows.values()).split(field_separator) if rows else []
        cells = [unquoted(cell) if '"' in cell else cell for cell in cells]
        columns = [cells[at::width] for at in range(width)]
    return AtomicFile(path, kinds, dict(zip(kinds, columns, strict=True)), list(rows))


def _text(path: str | Path, encoding: str, size: int = -1) -> str:
    """What the file holds; with ``size``, what its first bytes hold."""
    try:
        with open(path, "rb") as file:
            data = file.read(size)
        if data.startswith(UTF_16) and codecs.lookup(encoding).name in ("utf-8", "ascii", "utf-8-sig"):
            raise InputError(f"{path} is UTF-16, not {encoding}; save it as UTF-8 or set encoding: utf-16")
        return codecs.getincrementaldecoder(encoding)().decode(data, final=size < 0).removeprefix("\ufeff")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except LookupError as error:
        raise InputError(f"{path}: {error}; set `encoding` to the one the file is saved in.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not {encoding} at byte {error.start}; save it as {encoding} or set `encoding`.") from error


def _lines(path: str | Path, text: str) -> list[str]:
    if "\0" in text.partition("\n")[0]:
        raise InputError(f"{path}: line 1 has zero bytes, as UTF-16 and binary files do; save it as UTF-8 text")
    lines = text.replace("\r\n", "\n").split("\n") if "\n" in text else text.split("\r")
    while lines and not lines[-1].strip(" \r"):
        lines.pop()
    if not lines:
        raise InputError(f"{path}: the file is empty; it needs a header line of name:type cells and one line per row.")
    return lines


def _quoted_rows(path: Path, lines: list[str], separator: str, width: int, misfits: list[int]) -> list[tuple[int, list[str]]]:
    """The rows of the file read as quoted csv, with their line numbers.

    Args:
        misfits: the numbers of the lines that do not fit the header when read without quotes.

    If a bad row is one line, that line is reported. If it has several lines, it began at a stray quote that swallowed what follows; the
    bad line is then the first one from there that does not fit without quotes.
    """
    rows: list[tuple[int, list[str]]] = []
    if len(separator) > 1:
        raise InputError(f"{path}: line {misfits[0]} has {len(lines[misfits[0] - 1].split(separator))} cells, the header has {width}")
    reader = csv.reader((line + "\n" for line in lines[1:]), delimiter=separator, strict=True)
    while True:
        start = reader.line_num + 2
        try:
            row = next(reader)
        except StopIteration:
            return rows
        except csv.Error:
            row = None
        if row is not None and len(row) == width:
            rows.append((start, row))
        elif row != []:
            one_line = row is not None and reader.line_num + 1 == start
            number = start if one_line else next((misfit for misfit in misfits if misfit >= start), None)
            if number is None:
                fault = f"line {start} has a double quote without its partner"
            else:
                fault = f"line {number} has {len(row if one_line else lines[number - 1].split(separator))} cells"
            raise InputError(
                f"{path}: {fault}, the header has {width} cells; remove separators and line breaks from inside the "
                "cells, or put such cells in double quotes (and double every quote inside them)."
            )
