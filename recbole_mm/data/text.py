"""Item texts: reading the raw columns of a RecBole atomic file, and cleaning them for a text encoder."""

import csv
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_mm.errors import InputError

_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*)(?:;|(?![A-Za-z0-9=;]))")
_UNSEEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:[\s/][^<>]*)?>")
_ZERO_WIDTH = re.compile("[\u00ad\u200b\ufeff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CLOSING = "\"')]}»”’"
_PUNCTUATION = tuple(".!?…:;,。！？：；，、")


def clean_text(text: str) -> str:
    """The plain words of a scraped text. Entities are resolved, also those that were escaped twice. Tags, control characters and runs of
    whitespace become one space, and the ends are stripped. Casing is kept, and so is a "<" that opens no tag ("a < b")."""
    for _ in range(3):
        resolved = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
        if resolved == text:
            break
        text = resolved
    text = _TAG.sub(" ", _UNSEEN.sub(" ", text))
    return " ".join(_CONTROL.sub(" ", _ZERO_WIDTH.sub("", text)).split())


def join_fields(values: Sequence[str]) -> str:
    """Joins the fields of an item into one text. Each is cleaned, empty ones are dropped, and a field that does not end in punctuation
    gets a full stop if another follows: `["Toy Story (1995)", "A film"]` becomes "Toy Story (1995). A film"."""
    *leading, last = [part for part in map(clean_text, values) if part] or [""]
    return " ".join([*(part if part.rstrip(_CLOSING).endswith(_PUNCTUATION) else part + "." for part in leading), last])


def read_item_table(path: str | Path, field_separator: str = "\t", encoding: str = "utf-8") -> dict[str, list[str]]:
    """The raw columns of a RecBole atomic file (`.item`), as strings, by field name and in the order of the file.

    Quotes inside a text mean nothing at first. Only if the cells then do not fit the header is the file read as quoted csv, in which
    separators and line breaks may stand inside quotes. Blank lines are skipped.

    Raises:
        InputError: the file is missing, empty or not in this encoding, a header cell is not `name:type`, or a line has more or fewer
            cells than the header.
    """
    try:
        text = Path(path).read_bytes().decode(encoding).removeprefix("\ufeff")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except LookupError as error:
        raise InputError(f"{path}: {error}; set `encoding` to the one the file is saved in.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not {encoding} at byte {error.start}; save it as {encoding} or set `encoding`.") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: the file is empty; it needs a header line of name:type cells and one line per item.")
    names = _header(path, lines[0].split(field_separator))
    rows = list(_unquoted_rows(lines, field_separator, len(names)))
    misfits = [number for number, row in rows if len(row) != len(names)]
    if misfits:
        rows = _quoted_rows(path, lines, field_separator, len(names), misfits)
    return {name: [row[column] for _, row in rows] for column, name in enumerate(names)}


def _header(path: str | Path, cells: list[str]) -> list[str]:
    names = []
    for cell in map(_unwrap, cells):
        name, colon, kind = (part.strip() for part in cell.partition(":"))
        if not (name and colon and kind) or ":" in kind:
            raise InputError(
                f"{path}: line 1: header cell {cell!r} is not name:type; write e.g. title:token_seq, "
                "and check that field_separator is the one the file uses."
            )
        if name in names:
            raise InputError(f"{path}: line 1: field {name!r} appears twice; rename or remove one of the two.")
        names.append(name)
    return names


def _unwrap(cell: str) -> str:
    """The cell without its csv quotes, if it is one well-formed quoted cell, which `"a" and "b"` is not."""
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _unquoted_rows(lines: list[str], separator: str, width: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines[1:], start=2):
        if line or width == 1:
            yield number, [_unwrap(cell) for cell in line.split(separator)]


def _quoted_rows(path: str | Path, lines: list[str], separator: str, width: int, misfits: list[int]) -> list[tuple[int, list[str]]]:
    """The rows of the file read as quoted csv, with their line numbers.

    Args:
        misfits: the numbers of the lines that do not fit the header when read without quotes.

    If a bad row is one line, that line is reported. If it has several lines, it began at a stray quote that swallowed what follows; the
    bad line is then the first one from there that does not fit without quotes.
    """
    reader = csv.reader((line + "\n" for line in lines[1:]), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
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
