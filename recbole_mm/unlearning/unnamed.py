"""What is said while something is forgotten names nobody: the log would keep it."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from rich.text import Text

INSTEAD = "(forgotten)"


@contextmanager
def unnamed(tokens: Collection[str]) -> Iterator[None]:
    """Within a ``with``, what is shown and written into the log has "(forgotten)" for these tokens, wherever they are whole words: warnings
    about pictures and features name items. In lines for the screen, numbers stay as they are, since they count something."""
    handlers, hidden = list(logging.getLogger().handlers), _Unnamed(tokens)
    for handler in handlers:
        handler.addFilter(hidden)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(hidden)


class _Unnamed(logging.Filter):
    def __init__(self, tokens: Collection[str]) -> None:
        super().__init__()
        self.said, self.logged = _words(token for token in tokens if not token.isdecimal()), _words(tokens)

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        message, shown = record.getMessage(), hasattr(record, "shown")
        left = (self.said if shown else self.logged).sub(INSTEAD, message)
        if left != message:
            record.msg, record.args = left, None
            if shown:
                record.shown = Text(left)
        return True


def _words(tokens: Iterable[str]) -> re.Pattern:
    longest_first = sorted(map(re.escape, tokens), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(longest_first)})(?![\w-])" if longest_first else "(?!)")
