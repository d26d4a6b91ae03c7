"""What ``recbole-mm distil`` is asked for on its command line, besides the keys of a run."""

from typing import NamedTuple

from recbole_mm.errors import InputError


class Request(NamedTuple):
    """Attributes:
    teacher: the teacher's name, as ``encoder`` takes it.
    prune: the share of the blocks that the student loses before it learns, and that of the hidden units of its feed-forward parts; None
        where it stays whole.
    output: a folder for the student; None for one in the cache.
    """

    teacher: str
    prune: tuple[float, float] | None = None
    output: str | None = None


def shares(text: str) -> tuple[float, float]:
    """``0.5`` or ``0.5,0.25`` -> the shares of blocks and of hidden units.

    Raises:
        InputError: neither one nor two shares below 1.
    """
    try:
        blocks, *widths = map(float, text.split(","))
        found = (blocks, *(widths or [0.0]))
    except ValueError:
        found = ()
    if len(found) != 2 or not all(0 <= share < 1 for share in found) or not any(found):
        raise InputError(f"--prune {text}: give the share of blocks that go, such as 0.5, or that and the share of hidden units, such as "
                         "0.5,0.25; shares are below 1")  # fmt: skip
    return found
