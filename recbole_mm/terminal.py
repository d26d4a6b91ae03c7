"""The screen: lines and tables that a person reads, and progress bars where it is a terminal.

What is said goes through Python's logging, so that a run's log file has it too. ``training.log`` decides what of the log is shown.
"""

import io
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

WIDTH = 100
"""How many columns a line may have where no terminal says so."""
LABEL = 15
"""How many of them a label takes."""
REFRESH_SECONDS = 0.1
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def say(what: RenderableType, text: str | None = None, result: bool = False) -> None:
    """Writes a line or a table onto the screen and into the log.

    Args:
        what: the line, or anything that rich can print.
        text: what the log has instead.
        result: whether it is what a run is made for, which a quiet run shows as well.
    """
    logging.getLogger("recbole_mm").info(text or plain(what), extra={"shown": what, "result": result})


def labelled(label: str, text: str) -> Text:
    """A line of a list: a label, and what it says."""
    return Text.assemble((f"  {label:{LABEL - 2}}", "dim"), text)


def plain(what: RenderableType, encoding: str = "utf-8") -> str:
    """How something looks without colours; a table begins on a line of its own. What an encoding lacks becomes a question mark."""
    text = str(what)
    if not isinstance(what, str | Text):
        paper = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace", newline="")
        Console(file=paper, width=WIDTH, color_system=None, legacy_windows=False).print(what)
        paper.seek(0)
        text = "\n" + "\n".join(line.rstrip() for line in paper.read().rstrip().splitlines())
    return text.encode(encoding, "replace").decode(encoding)


def show(what: RenderableType) -> None:
    """Prints onto the screen, above the progress bars. Lines are wrapped on terminals alone."""
    page = console()
    if isinstance(what, str) or not page.encoding.startswith("utf"):
        what = Text(plain(what, page.encoding))
    page.print(what, soft_wrap=not page.file.isatty(), highlight=False)


def console() -> Console:
    """The console that writes to what is the standard output now."""
    return _console_of(_output())


def _output() -> TextIO:
    """The standard output itself, where rich has put something before it to keep it off the progress bars."""
    return getattr(sys.stdout, "rich_proxied_file", sys.stdout)


@lru_cache(maxsize=1)
def _console_of(stream: TextIO) -> Console:
    return Console(file=stream, width=None if stream.isatty() else WIDTH, force_jupyter=False)


class Bar:
    """A progress bar that vanishes when it is done. It shows on terminals alone. Bars may run inside of each other.

    It takes the place of a ``tqdm`` in ``for``, in ``with`` and through ``update``.

    Args:
        iterable: what is gone through, if anything.
        desc: what is done, in words.
        total: how many steps there are; None for the length of ``iterable``, or where nobody knows.
        initial: how many are done already.
        disable: shows nothing.
    """

    _shared: Progress | None = None

    def __init__(
        self,
        iterable: Iterable | None = None,
        desc: str = "",
        total: int | None = None,
        initial: int = 0,
        disable: bool = False,
        **_: object,
    ) -> None:
        self.iterable, self.initial = iterable, initial
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        self.desc = " ".join(COLOURS.sub("", desc).split())
        self.shown, self._task, self._refreshed = not disable and console().file.isatty(), None, 0.0

    def __enter__(self) -> "Bar":
        if self.shown and self._task is None:
            if Bar._shared is None:
                Bar._shared = _bars()
                Bar._shared.start()
            self._task = Bar._shared.add_task(self.desc, total=self.total, completed=self.initial)
            Bar._shared.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None and Bar._shared is not None:
            Bar._shared.remove_task(self._task)
            if not Bar._shared.tasks:
                end_bars()
        self._task = None

    def __iter__(self) -> Iterator:
        with self:
            for element in self.iterable:
                yield element
                self.update()

    def update(self, n: int = 1) -> None:
        """Goes on by ``n`` steps."""
        if self._task is not None and Bar._shared is not None:
            Bar._shared.update(self._task, advance=n)
            if time.monotonic() - self._refreshed > REFRESH_SECONDS:
                Bar._shared.refresh()
                self._refreshed = time.monotonic()

    def set_postfix_str(self, text: str) -> None:
        """RecBole's trainers tell the GPU's memory, which the cost of a run tells as well."""


def end_bars() -> None:
    """Takes all progress bars from the screen, as after an error."""
    if Bar._shared is not None:
        Bar._shared.stop()
        Bar._shared = None


def _bars() -> Progress:
    """Without a thread of its own, which processes forked meanwhile could not do with."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console(), auto_refresh=False, transient=True, redirect_stderr=sys.stderr.isatty())
