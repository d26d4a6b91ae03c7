"""Whole sequences, put together again from rows that each hold a history and the item that came next."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Row = tuple[str, tuple[str, ...], str]
"""A user, a history, and what came next."""


@dataclass
class Sequences:
    """The items of every user in order.

    Attributes:
        items: user -> items, the users in the order of their first rows.
        cut: how many users have only their last history and what came next, because their rows are no prefixes of one sequence.
        split_otherwise: of how many users the parts are not those of leaving one out.
    """

    items: dict[str, list[str]] = field(default_factory=dict)
    cut: int = 0
    split_otherwise: int = 0


def sequences_of(parts: Sequence[Sequence[Row]]) -> Sequences:
    """The sequences behind the rows of training, validation and test. Training has a row per prefix in either order, whose histories may be
    cut at their beginning, as UniSRec cuts them at 50 items.

    Args:
        parts: the rows of the three parts.
    """
    by_user: dict[str, tuple[list[Row], ...]] = {}
    for part, rows in enumerate(parts):
        for row in rows:
            by_user.setdefault(row[0], ([], [], []))[part].append(row)
    found = Sequences()
    for user, (training, *later) in by_user.items():
        rows = [*_the_shortest_first(training), *(row for part in later for row in part)]
        items = [*rows[0][1], *(item for _, _, item in rows)]
        if not _are_prefixes(rows, items):
            items = [*rows[-1][1], rows[-1][2]]
            found.cut += 1
        found.items[user] = items
        found.split_otherwise += [len(part) for part in later] != [len(rows) > 2, len(rows) > 1]
    return found


def _the_shortest_first(rows: list[Row]) -> list[Row]:
    """Rows of prefixes in the order of their lengths. Those that are cut to the same length keep the order of the file, or its reverse
    where that begins with the longest."""
    backwards = len(rows) > 1 and len(rows[0][1]) > len(rows[-1][1])
    return sorted(reversed(rows) if backwards else rows, key=lambda row: len(row[1]))


def _are_prefixes(rows: Sequence[Row], items: Sequence[str]) -> bool:
    start = len(rows[0][1])
    return all(tuple(items[max(0, end - len(history)) : end]) == history for end, (_, history, _) in enumerate(rows, start))
