"""The log of a run: RecBole's file and format, one per run, and none for a run that cannot start; and what of it the screen shows."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import md5
from pathlib import Path

from recbole.utils import get_local_time
from rich.text import Text

from recbole_mm.errors import InputError
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import COLOURS, end_bars, show

LEVELS = {"debug": logging.DEBUG, "warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}
"""What RecBole's key ``state`` may say. Anything else is INFO."""
FORMAT = logging.Formatter("%(asctime)-15s %(levelname)s  %(message)s", "%a %d %b %Y %H:%M:%S")


def start_log(config, silent: bool = False, held: bool = False) -> None:
    """Opens a log file with the name and the format of RecBole's, and shows on the screen what ``screen`` asks for. A second run in the
    same process gets a log file of its own. Of several processes that train together only the first one logs.

    Args:
        silent: whether the screen shows warnings alone.
        held: whether it shows them only after ``release_notices``.
    """
    root = logging.getLogger()
    if Ranks.current().rank:
        root.addHandler(logging.NullHandler())  # without any handler, warnings go to stderr
        return
    root.handlers = [_LogFile(config), _Screen("silent" if silent else config["screen"], held), *_end_log()]
    root.setLevel(LEVELS.get(str(config["state"]).lower(), logging.INFO))


def release_notices() -> None:
    """Shows the warnings that were held back until now, and all later ones at once."""
    for screen in _handlers_of_run():
        if isinstance(screen, _Screen) and screen.held is not None:
            held, screen.held = screen.held, None
            for record in held:
                screen.emit(record)


def log_file() -> str | None:
    """The path of the log file that is open; None without one."""
    return next((handler.path for handler in _handlers_of_run() if isinstance(handler, _LogFile)), None)


@contextmanager
def starting() -> Iterator[None]:
    """Deletes the run's log file again where bad input ends the ``with``: the error message says all there is to say.

    Raises:
        InputError: the one that was raised inside.
    """
    try:
        yield
    except InputError:
        files = [Path(handler.baseFilename) for handler in _handlers_of_run() if isinstance(handler, _LogFile)]
        logging.getLogger().handlers = _end_log()
        for file in files:
            file.unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds the logs of other runs
                file.parent.rmdir()
                file.parent.parent.rmdir()
        raise
    finally:
        if sys.exc_info()[0] is not None:
            end_bars()


class _LogFile(logging.FileHandler):
    """log/<model>/<model>-<dataset>-<time>-<hash of the settings>.log, without colours."""

    of_run = True

    def __init__(self, config) -> None:
        settings = "".join(map(str, config.final_config_dict.values()))
        name = f"{config['model']}-{config['dataset']}-{get_local_time()}-{md5(settings.encode()).hexdigest()[:6]}.log"
        path = Path("log", config["model"], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = str(path)
        super().__init__(path, encoding="utf-8")
        self.setFormatter(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        return COLOURS.sub("", super().format(record))


class _Screen(logging.Handler):
    """Shows what was said (``terminal.say``) and warnings, each on one line. ``quiet`` shows results alone, ``silent`` warnings alone, and
    ``verbose`` all that is logged."""

    of_run = True

    def __init__(self, mode: str, held: bool) -> None:
        super().__init__()
        self.mode, self.held = mode, [] if held else None

    def filter(self, record: logging.LogRecord) -> bool:
        said, warning = hasattr(record, "shown"), record.levelno >= logging.WARNING
        if self.mode == "quiet":
            return said and record.result
        return self.mode == "verbose" or warning or (said and self.mode == "normal")

    def emit(self, record: logging.LogRecord) -> None:
        message = COLOURS.sub("", record.getMessage())
        if self.held is not None and record.levelno >= logging.WARNING:
            self.held.append(record)
        elif hasattr(record, "shown"):
            show(record.shown)
        elif record.levelno >= logging.WARNING:
            show(Text(f"{record.levelname.lower()}: {' '.join(message.split())}", "yellow"))
        else:
            show(Text(message, "dim"))


def _end_log() -> list[logging.Handler]:
    """Closes the handlers of the last run, and returns all others."""
    ours = _handlers_of_run()
    for handler in ours:
        handler.close()
    return [handler for handler in logging.getLogger().handlers if handler not in ours]


def _handlers_of_run() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if getattr(handler, "of_run", False)]
