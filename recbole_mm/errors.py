"""Bad input, and how messages say what is wrong with it."""

import difflib
import logging
import sys
import sysconfig
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]
LOOKED_THROUGH = 5000
"""How many tokens are compared with one that is unknown: comparing takes 10 microseconds each."""


class InputError(ValueError):
    """Bad input. The message is one line that says which file, item or key is wrong, and what to do about it. The commands print it and
    exit with status 2."""


class UnknownToken(InputError):
    """A user or an item that is not there."""


class MissingPackage(ModuleNotFoundError, InputError):
    """A package that is needed is not installed; the message is one line that says how to get it."""


def nearest(word: str, words: Iterable[str], n: int = 1, cutoff: float = 0.5) -> str:
    """A suggestion for an error message, `` (did you mean 'x'?)``; empty if nothing in ``words`` resembles ``word``.

    Args:
        n: how many words to suggest at most.
        cutoff: how much they must resemble it, from 0 to 1 (see ``difflib.get_close_matches``).
    """
    folded = {w.lower(): w for w in sorted(words)}
    found = [folded[w] for w in difflib.get_close_matches(word.lower(), folded, n=n, cutoff=cutoff)]
    return f" (did you mean {' or '.join(repr(w) for w in found)}?)" if found else ""


def unknown(kind: str, token: object, known: Collection[str]) -> UnknownToken:
    """The error for a user or item that is not among the known ones, with the nearest of them unless there are too many to look through."""
    return UnknownToken(f"unknown {kind} '{token}'{nearest(str(token), known, cutoff=0.8) if len(known) <= LOOKED_THROUGH else ''}")


def listed(words: Iterable[str]) -> str:
    """Joins words for an error message: ``a, b, c``, or "none"."""
    return ", ".join(words) or "none"


def one_line(error: BaseException, limit: int = 200) -> str:
    """Puts the message of a library's exception on one line and cuts it at ``limit`` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "..."


@contextmanager
def recbole_complaints(kinds: tuple[type[Exception], ...] = (ValueError, NotImplementedError)) -> Iterator[None]:
    """Turns the exceptions that RecBole raises while it reads settings or data into an InputError, because they are about that input. The
    commands show the traceback with ``--state=DEBUG``.

    Args:
        kinds: the exceptions.

    Raises:
        InputError: RecBole raised one of them.
    """
    try:
        yield
    except InputError:
        raise
    except kinds as error:
        raise InputError(" ".join(str(error).split()) or repr(error)) from error


@contextmanager
def recboles_own_failures() -> Iterator[None]:
    """Turns whatever is raised inside of RecBole into an InputError, since a user can change nothing but the settings and the data. The
    traceback goes into the run's log file; the commands show it with ``--state=DEBUG``. What is raised by this package or by a model of a
    user's own, or by a library that these call, stays as it is.

    Raises:
        InputError: the line says what was raised, and where.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        place = _place_in_recbole(error)
        if place is None:
            raise
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            raise InputError(f"RecBole's {Path(place.filename).stem} needs the package {package}, which is not installed") from error
        _log_traceback()
        raise InputError(f"RecBole does not work with these settings or this data: {type(error).__name__}: {one_line(error)} "
                         f"({Path(place.filename).name}, line {place.lineno}); --state=DEBUG shows the traceback") from error  # fmt: skip


def _place_in_recbole(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line of code outside of libraries, if it is RecBole's. A batch or a configuration raises for whoever asks it."""
    recbole, innermost = Path(getattr(sys.modules.get("recbole"), "__file__", None) or "/no/such").parent, None
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(recbole) and file.stem not in ("interaction", "configurator"):
            innermost = frame
        elif file.is_relative_to(PACKAGE) or not ("site-packages" in file.parts or file.is_relative_to(STANDARD_LIBRARY)):
            innermost = None
    return innermost


def _log_traceback() -> None:
    """Writes the exception that is being handled into the log files, and not on the screen."""
    record = logging.getLogger().makeRecord("root", logging.ERROR, __file__, 0, "the run stopped", (), sys.exc_info())
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
