"""Folders that several processes use: a lock that says who is waited for, and files that appear whole or not at all."""

import glob
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
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
    """Lets ``write`` fill a file, and moves it to ``path`` with the rights that the umask gives: a kill leaves the previous one, and a
    folder beside it with whatever ``write`` made (see ``remove_left``)."""
    folder = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    folder.mkdir(exist_ok=True)
    try:
        temporary = folder / path.name
        write(temporary)
        temporary.chmod(folder.stat().st_mode & 0o666)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(folder: Path, name: str | None = None, seconds: float = 0) -> None:
    """Removes what killed calls of ``write_whole`` have left in a folder, of the file ``name`` or of all, if it is at least ``seconds``
    old: younger files may be those that another process is writing."""
    for left in folder.glob(f".{glob.escape(name) if name else '*'}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime >= seconds:
                shutil.rmtree(left, ignore_errors=True)
