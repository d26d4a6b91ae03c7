"""Bad input, and how to say it."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: one line that says which file, item or key, and what to do. The commands print it and exit with status 2."""


def nearest(name: str, names: Iterable[str], cutoff: float = 0.55) -> str:
    """``; did you mean '...'?`` for the nearest of ``names``, or nothing where none is near."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(names)}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return f"; did you mean '{by_lower[found[0]]}'?" if found else ""
