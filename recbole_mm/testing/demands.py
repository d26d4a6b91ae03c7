"""A demand of the contract, and how several are checked at once."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from recbole_mm.errors import one_line


class ContractError(AssertionError):
    """A model or an encoder does not do what all of them must do; the message says what."""


@dataclass(frozen=True)
class Demand:
    """One thing that every model or every encoder must do. Calling it checks it.

    Attributes:
        name: what is demanded, in a few words.
        check: raises ContractError where it is not met.
    """

    name: str
    check: Callable[[], None]

    def __call__(self) -> None:
        self.check()

    def __str__(self) -> str:
        return self.name


def require(met: object, otherwise: str) -> None:
    """Raises ContractError with the message ``otherwise``, unless ``met``."""
    if not met:
        raise ContractError(otherwise)


def refused(kind: type[Exception], call: Callable[[], object], otherwise: str) -> None:
    """Raises ContractError with the message ``otherwise``, unless ``call`` raises an exception of a kind."""
    try:
        call()
    except kind:
        return
    raise ContractError(f"not so: {otherwise}")


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Makes a folder the working directory for the time of a ``with``."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def meet(what: str, demands: Sequence[Demand]) -> None:
    """Checks all demands, also after one is not met.

    Raises:
        ContractError: ``what`` does not meet some of them; the message has a line for each, and the first failure is its cause.
    """
    failures: list[tuple[Demand, Exception]] = []
    for demand in track(demands, what, transient=True, disable=not sys.stdout.isatty()):
        try:
            demand()
        except Exception as error:
            failures.append((demand, error))
    if failures:
        lines = (f"- {demand}: {'' if isinstance(error, ContractError) else f'{type(error).__name__}: '}{one_line(error, 400)}"
                 for demand, error in failures)  # fmt: skip
        raise ContractError("\n".join([f"{what} does not meet {len(failures)} of {len(demands)} demands", *lines])) from failures[0][1]
