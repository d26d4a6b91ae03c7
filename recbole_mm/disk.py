"""Folders that several processes use: a lock that says who is waited for, and files that appear whole or not at all."""

import os
from collections.abc import Callable
from logging import getLogger
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

logger = getLogger(__name__)


def locked(path: Path, doing: str) -> AcquireReturnProxy:
    """The lock file ``path``, held until the end of a ``with``; where another process has it, says that one is ``doing`` something."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.info("Waiting for another process that is %s", doing)
        return lock.acquire()


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a file beside ``path``, and renames it: a kill leaves the previous one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
