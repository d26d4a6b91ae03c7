"""Windows and macOS: nothing is imported at the top that only Unix has, and memory is in the same unit everywhere."""

import ast
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from recbole_mm.disk import whole_folder
from recbole_mm.parallel.memory import peak_resident_set

PACKAGE = Path(__file__).parents[1] / "recbole_mm"
UNIX_MODULES = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "curses", "readline"}
UNIX_NAMES = {"uname", "fork", "forkpty", "kill", "killpg", "getuid", "getpgid", "mkfifo", "getloadavg", "O_DIRECTORY"}


def test_nothing_needs_unix_when_it_is_imported():
    assert {str(file): needs for file in PACKAGE.rglob("*.py") if (needs := _needs(file))} == {}


def _needs(file: Path) -> set[str]:
    """What a source file imports at the top, or takes from ``os``, that only Unix has."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    of_os = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "os"}
    return imported & UNIX_MODULES | of_os & UNIX_NAMES


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_largest_resident_set_is_in_bytes(monkeypatch, system, unit):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=5000))
    assert peak_resident_set() == 5000 * unit


def test_the_largest_resident_set_of_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=7)))
    assert peak_resident_set() == 7


def test_the_largest_resident_set_here_is_what_is_resident_now_or_more():
    assert psutil.Process().memory_info().rss * 0.5 < peak_resident_set() < 2**40


def test_a_folder_takes_the_place_of_an_empty_one_where_a_rename_cannot(tmp_path, monkeypatch):
    """Windows renames no folder onto one that exists."""
    import os

    rename = os.rename

    def as_on_windows(source, target):
        if os.path.exists(target):
            raise FileExistsError(target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", as_on_windows)
    (tmp_path / "made").mkdir()
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "made" / "a").read_text() == "1"
