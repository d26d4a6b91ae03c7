"""Bad input, and how to say it."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input: one line that says which file, item or key, and what to do. The commands print it and exit with status 2."""


def nearest(word: str, words: Iterable[str], n: int = 1, cutoff: float = 0.5) -> str:
    """`` (did you mean 'x'?)`` for an error message; empty where nothing in ``words`` is near."""
    folded = {w.lower(): w for w in sorted(words)}
    found = [folded[w] for w in difflib.get_close_matches(word.lower(), folded, n=n, cutoff=cutoff)]
    return f" (did you mean {' or '.join(repr(w) for w in found)}?)" if found else ""


def listed(words: Iterable[str]) -> str:
    """``a, b, c`` for an error message; "none" for no words."""
    return ", ".join(words) or "none"


def one_line(error: BaseException, limit: int = 200) -> str:
    """The message of a library's exception on one line, cut at ``limit`` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "..."


@contextmanager
def recbole_complaints(kinds: tuple[type[Exception], ...] = (ValueError, NotImplementedError)) -> Iterator[None]:
    """What RecBole raises while it reads settings or data is about them: one line, as for our own. The traceback stays behind it,
    and the commands show it with ``--state=DEBUG``."""
    try:
        yield
    except InputError:
        raise
    except kinds as error:
        raise InputError(" ".join(str(error).split()) or repr(error)) from error
