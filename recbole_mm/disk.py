"""Folders that several processes use: a lock that says who is waited for, and files that appear whole or not at all."""

import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

STALE_SECONDS = 3600
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
    folder beside it with whatever ``write`` made, which the next write of this file removes."""
    remove_left(path.parent, path.name)
    folder = path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    try:
        temporary = folder / path.name
        write(temporary)
        temporary.chmod(folder.stat().st_mode & 0o666)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(folder: Path, name: str | None = None) -> None:
    """Removes what killed calls of ``write_whole`` have left in a folder, of the file ``name`` or of all: that of processes of this machine
    that are gone, and whatever is an hour old."""
    for left in folder.glob(f".{glob.escape(name) if name else '*'}.*.tmp"):
        with suppress(OSError):
            if _abandoned(left.name) or time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _abandoned(name: str) -> bool:
    *_, machine, pid, _, _ = name.rsplit(".", 4)
    if machine != _machine() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def _machine() -> str:
    return os.uname().nodename.replace(".", "-")
