"""Bad input, and how messages say what is wrong with it."""

import difflib
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input. The message is one line that says which file, item or key is wrong, and what to do about it. The commands print it and
    exit with status 2."""


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
def recboles_own_failures(model_class: type) -> Iterator[None]:
    """Turns whatever one of RecBole's own models raises into an InputError, since its user can change nothing but the settings and the
    data. The traceback goes into the run's log file; the commands show it with ``--state=DEBUG``. With other models, nothing is changed.

    Raises:
        InputError: the model raised something; the line says what, and where.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if model_class.__module__.partition(".")[0] != "recbole":
            raise
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            raise InputError(f"model {model_class.__name__} needs the package {package}, which is not installed") from error
        _log_traceback()
        places = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{Path('/')}recbole{Path('/')}" in frame.filename]
        where = f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
        raise InputError(f"RecBole's {model_class.__name__} does not work with these settings or this data: {type(error).__name__}: "
                         f"{one_line(error)}{where}; --state=DEBUG shows the traceback") from error  # fmt: skip


def _log_traceback() -> None:
    """Writes the exception that is being handled into the log files, and not on the screen."""
    record = logging.getLogger().makeRecord("root", logging.ERROR, __file__, 0, "the run stopped", (), sys.exc_info())
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
