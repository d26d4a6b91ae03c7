"""Finds the columns of a table: by the options, by the kind of source, or by common names."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from recbole_mm.data.prepare.names import rank
from recbole_mm.errors import InputError, listed, nearest

NONE = "none"
DECIDED = ("time", "rating", "image")
"""Roles for which the first of several common names is taken. For users and items, two equally good columns are a question."""


def find_column(role: str, columns: Sequence[str], file: Path, given: str | None, known: str | None, more: str = "") -> str | None:
    """The column of a role ("user", "item", "time", "rating" or "image"): the one that its option gives, or else the one that the kind of
    source has, or else the one with the best common name. None if there is none, or if the option says "none".

    Raises:
        InputError: the given column is missing, or several columns have equally good names.
    """
    option = f"--{role}-column"
    if given is not None:
        if given == NONE and role in DECIDED:
            return None
        if given not in columns:
            raise InputError(f"{option}={given}: {file} has no such column{nearest(given, columns)}; it has {listed(columns)}")
        return given
    if known in columns:
        return known
    found = candidates(role, columns, more)
    best = [column for column in found if rank(role, column, more) == rank(role, found[0], more)]
    if len(best) > 1 and role not in DECIDED:
        raise InputError(f"{file}: the {role} could be any of the columns {listed(best)}; say which with {option}=NAME")
    return found[0] if found else None


def candidates(role: str, columns: Sequence[str], more: str = "") -> list[str]:
    """The columns with common names for a role, the best first."""
    ranks = {column: rank(role, column, more) for column in columns}
    return sorted((column for column in columns if ranks[column] is not None), key=lambda column: ranks[column])


def instead_of(role: str, columns: Sequence[str], used: Iterable[str], more: str = "") -> str:
    """In words, the columns that have common names for a role but are not used, for example "rather than created_at"."""
    others = [column for column in candidates(role, columns, more) if column not in used]
    return f"rather than {listed(others)}" if others else ""


def need_column(role: str, columns: Sequence[str], file: Path, found: str | None) -> str:
    """Returns ``found``.

    Raises:
        InputError: it is None; the message says how to name the column.
    """
    if found is None:
        hint = ", or what separates the cells with --delimiter" if len(columns) == 1 else ""
        hint = "; the first line must name the columns" if any(column.replace(".", "").isdecimal() for column in columns) else hint
        raise InputError(f"{file}: no column looks like the {role} among {listed(columns)}; say which with --{role}-column=NAME{hint}")
    return found


def text_columns(columns: Sequence[str], file: Path, given: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The text columns in order: those that the option gives, or else those of the kind of source, or else those with common names."""
    if given is not None:
        return [] if tuple(given) == (NONE,) else named_columns("--text-columns", columns, file, given)
    return [name for name in known if name in columns] if known else candidates("text", columns)


def named_columns(option: str, columns: Sequence[str], file: Path, given: Sequence[str]) -> list[str]:
    """The columns that an option lists.

    Raises:
        InputError: there is no such column.
    """
    for name in given:
        if name not in columns:
            raise InputError(f"{option}: {file} has no column {name}{nearest(name, columns)}; it has {listed(columns)}")
    return list(given)
