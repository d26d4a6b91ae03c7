"""Traces: where files still hold tokens or rows that were to be forgotten."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from recbole_mm.unlearning.decoded import decoded

WORD = re.compile(r"[\w-]+")


class Finding(NamedTuple):
    """A trace: the file, where in it, and the token, or the number of the row among those that were looked for."""

    file: Path
    place: str
    what: str | int


def scan(paths: Iterable[Path], tokens: Collection[str], rows: Iterable[torch.Tensor | np.ndarray | bytes] = ()) -> list[Finding]:
    """Looks for tokens and rows in files, and in the files of folders, whatever else is in them. Every format that this package writes is
    decoded (see ``decoded``).

    A token is found as a whole string (an entry of a vocabulary, a line, a cell of a table), or as a whole word of a text or of a file's
    name: the user 1 is not found in 11, and within a text no token that is a number is found at all.
    Where a user and an item have the same token, the place says whose it is.

    Args:
        rows: each a vector, which is found as float32 and as float16; or bytes. One without two different numbers says nothing and is not
            looked for.

    Returns:
        One finding per file, place and trace.

    Raises:
        InputError: a file cannot be decoded.
    """
    looked_for, patterns = _Tokens(tokens), [(number, pattern) for number, row in enumerate(rows) for pattern in _patterns(row)]
    files = (file for path in map(Path, paths) for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file())
    return list(dict.fromkeys(finding for file in files for finding in _in_file(file, looked_for, patterns)))


class _Tokens:
    """Tokens as they are looked for in strings."""

    def __init__(self, tokens: Collection[str]) -> None:
        self.whole = frozenset(tokens)
        self.words = {token for token in self.whole if WORD.fullmatch(token) and not token.isdecimal()}
        odd = sorted((token for token in self.whole if not WORD.fullmatch(token)), key=len, reverse=True)
        self.odd = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, odd))})(?!\w)") if odd else None

    def within(self, text: str) -> set[str]:
        """Those that are found in a text."""
        found = self.whole & {text.strip()} | self.words.intersection(WORD.findall(text))
        return found | set(self.odd.findall(text)) if self.odd else found


def _patterns(row: torch.Tensor | np.ndarray | bytes) -> list[bytes]:
    if isinstance(row, bytes):
        return [row]
    values = torch.as_tensor(row).detach().cpu().float().numpy()
    return [values.astype(kind).tobytes() for kind in ("<f4", "<f2")] if len(np.unique(values)) > 1 else []


def _in_file(file: Path, tokens: _Tokens, patterns: Collection[tuple[int, bytes]]) -> Iterator[Finding]:
    yield from (Finding(file, "its name", token) for token in sorted(tokens.within(file.name)))
    pieces = [("bytes", file.read_bytes())] if patterns else []
    for place, piece in chain(pieces, decoded(file)):
        if isinstance(piece, str):
            yield from (Finding(file, place, token) for token in sorted(tokens.within(piece)))
        else:
            yield from (Finding(file, place, number) for number, pattern in patterns if pattern in piece)
