"""The log of a run: RecBole's file and format, one per run, and none for a run that cannot start."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole.utils import init_logger

from recbole_mm.errors import InputError
from recbole_mm.parallel.ranks import Ranks


def start_log(config) -> None:
    """Opens the log of a run as RecBole's ``init_logger`` does. A second run in the same process gets a log file of its own. Of several
    processes that train together only the first one logs."""
    if Ranks.current().rank:
        logging.getLogger().addHandler(logging.NullHandler())  # without any handler, warnings go to stderr
        return
    others = _end_log()
    root = logging.getLogger()
    root.handlers = []
    init_logger(config)
    for handler in root.handlers:
        handler.of_run = True
    root.handlers += others


@contextmanager
def starting() -> Iterator[None]:
    """Deletes the run's log file again where bad input ends the ``with``: the error message says all there is to say.

    Raises:
        InputError: the one that was raised inside.
    """
    try:
        yield
    except InputError:
        files = [Path(handler.baseFilename) for handler in _handlers_of_run() if isinstance(handler, logging.FileHandler)]
        logging.getLogger().handlers = _end_log()
        for file in files:
            file.unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds the logs of other runs
                file.parent.rmdir()
                file.parent.parent.rmdir()
        raise


def _end_log() -> list[logging.Handler]:
    """Closes the handlers of the last run, and returns all others."""
    ours = _handlers_of_run()
    for handler in ours:
        handler.close()
    return [handler for handler in logging.getLogger().handlers if handler not in ours]


def _handlers_of_run() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if getattr(handler, "of_run", False)]
