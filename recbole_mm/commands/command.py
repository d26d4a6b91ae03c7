"""What a command of ``recbole-mm`` is."""

import argparse
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module

from recbole_mm.errors import MissingPackage

Function = Callable[[argparse.Namespace, list[str]], int]


@dataclass(frozen=True)
class Command:
    """One of the commands.

    Attributes:
        function: gets the parsed arguments and the remaining ones, which are settings, and returns the exit status.
        help: what it does, for the list of commands.
        description: what it does, for its own help.
        options: its own options besides those of a run, with argparse's keyword arguments.
        rest: what its other arguments are: the ``settings`` of a run, which then has the options for model, data set and files too;
            its ``own`` to parse; or ``none``.
    """

    function: Function
    help: str
    description: str = ""
    options: Mapping[str, dict] = field(default_factory=dict)
    rest: str = "settings"


def later(module: str, name: str, extra: str | None = None) -> Function:
    """A function of a module that is imported when the function is called, so that help and wrong usage are answered without loading torch.

    Args:
        extra: the extra of recbole_mm that has the packages which the module needs.
    """

    def function(arguments: argparse.Namespace, rest: list[str]) -> int:
        try:
            with imports():
                found = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if extra is None:
                raise
            raise MissingPackage(f"this needs the package {error.name}: pip install 'recbole-mm[{extra}]'") from error
        return found(arguments, rest)

    return function


@contextmanager
def imports() -> Iterator[None]:
    """A context for a command's imports, in a process that has not loaded torch yet. Python's garbage collector would look through what
    they bring again and again, and finds nothing; nor will it look at that later."""
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


CHECKPOINT = {"help": "the checkpoint of a run: saved/<model>-<dataset>-<time>-<process>.pth"}
PLUGINS = {"--plugins": {"help": "modules of your own that the model needs, separated by commas"}}
