"""Folders that several processes use: a lock that says who is waited for, and files and folders that appear whole or not at all."""

import glob
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import AcquireReturnProxy, FileLock, Timeout

from recbole_mm.terminal import say

STALE_SECONDS = 24 * 3600
OLD = ".old"
"""What the name of a hidden folder that was replaced ends in."""


def share(file: Path) -> None:
    """Gives a file the access rights of its folder, which are those that the umask gives; safetensors gives them to the owner alone."""
    file.chmod(file.parent.stat().st_mode & 0o666)


def locked(path: Path, doing: str) -> AcquireReturnProxy:
    """Takes the lock file ``path`` until the end of a ``with``. Where another process has it, the log says that it is waited for, and
    what it is ``doing``."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"Waiting for another process that is {doing}")
        return lock.acquire()


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a file of the same name elsewhere, and moves that to ``path`` at the end, with the access rights that the umask
    gives. A process that is killed meanwhile leaves the previous file as it was; the next write of it removes what it left behind."""
    with _hidden_folder(path) as hidden:
        temporary = hidden / path.name
        write(temporary)
        temporary.chmod(hidden.stat().st_mode & 0o666)
        with open(temporary, "r+b") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def whole_folder(path: Path, replace: bool = False, keep: Sequence[str] = ()) -> Iterator[Path]:
    """Gives an empty folder to fill, which is moved to ``path`` at the end of the ``with``, unless something goes wrong in it. A process
    that is killed meanwhile leaves ``path`` as it was, or, within the moment of the exchange, beside it: the next such call puts it back.

    Args:
        replace: the new folder takes the place of one that exists. Without, that one must be empty.
        keep: names of folders in the old one that the new one gets as well, unless it has them.

    Raises:
        OSError: ``path`` exists and is not empty, or cannot be written.
    """
    put_back(path)
    with _hidden_folder(path) as hidden:
        folder, old = hidden / path.name, hidden.with_suffix(OLD)
        folder.mkdir()
        yield folder
        for name in keep if replace else ():
            if (path / name).is_dir() and not (folder / name).exists():
                shutil.copytree(path / name, folder / name, copy_function=_link, symlinks=True)
        if replace and path.exists():
            os.rename(path, old)
        elif path.is_dir():
            path.rmdir()
        try:
            os.rename(folder, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _link(source: str, target: str) -> None:
    """One more name for a file, so that nothing is lost whenever the process ends; a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def put_back(path: Path) -> None:
    """After a process that was killed while it replaced the folder ``path``: the old one returns, or goes if the new one stands."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*{OLD}"):
        if _abandoned(old.name):
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.rename(old, path)


def remove_left(folder: Path, name: str | None = None) -> None:
    """Removes from ``folder`` what killed calls of ``write_whole`` and ``whole_folder`` have left there, of the file or folder ``name`` or
    of all: what belongs to processes of this machine that are gone, and whatever is a day old."""
    for left in folder.glob(f".{glob.escape(name) if name else '*'}.*.tmp"):
        with suppress(OSError):
            if _abandoned(left.name) or time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def _hidden_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for the time of a ``with``, whose name says which process it belongs to."""
    remove_left(path.parent, path.name)
    folder = path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _abandoned(name: str) -> bool:
    *_, machine, pid, _, _ = name.rsplit(".", 4)
    return machine == _machine() and pid.isdecimal() and not psutil.pid_exists(int(pid))


def _machine() -> str:
    return platform.node().replace(".", "-")
