"""A run's log, as RecBole keeps it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole.utils import init_logger

from recbole_mm.errors import InputError
from recbole_mm.parallel.ranks import Ranks


def start_log(config) -> None:
    """RecBole's init_logger, but a second run in the same process gets a log file of its own; of several processes the first has one."""
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
    """Bad input that keeps a run from starting leaves no log file: the error says all there is to say."""
    try:
        yield
    except InputError:
        files = [Path(handler.baseFilename) for handler in _of_run() if isinstance(handler, logging.FileHandler)]
        logging.getLogger().handlers = _end_log()
        for file in files:
            file.unlink(missing_ok=True)
            with suppress(OSError):  # other runs' logs are there
                file.parent.rmdir()
                file.parent.parent.rmdir()
        raise


def _end_log() -> list[logging.Handler]:
    """Closes what the last run logs to; returns the other handlers."""
    ours = _of_run()
    for handler in ours:
        handler.close()
    return [handler for handler in logging.getLogger().handlers if handler not in ours]


def _of_run() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if getattr(handler, "of_run", False)]
