"""Files that appear whole or not at all, whatever the library that writes them leaves beside them."""

import os
import platform
import signal
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from recbole_mm.checkpoint import save_checkpoint
from recbole_mm.disk import put_back, remove_left, whole_folder, write_whole
from tests.processes import together


def killed_while_writing(path: Path) -> None:
    """A process that dies with half a file written, and a temporary file of the library beside it."""

    def half(file: Path) -> None:
        (file.parent / ".tmpAbCdEf").write_bytes(b"of the library")
        file.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            write_whole(path, half)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_leaves_the_previous_file_and_what_can_be_removed(tmp_path):
    path, other = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    for file in (path, other):
        write_whole(file, lambda file: file.write_bytes(b"whole"))
        killed_while_writing(file)
    assert path.read_bytes() == b"whole"
    remove_left(tmp_path, path.name)
    assert len(list(tmp_path.iterdir())) == 3
    remove_left(tmp_path)
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_what_may_still_be_written_is_not_removed_but_for_what_is_old(tmp_path, monkeypatch):
    path = tmp_path / "x.pth"

    def write(file):
        remove_left(tmp_path)
        file.write_bytes(b"whole")
        with monkeypatch.context() as patch:
            patch.setattr(platform, "node", lambda: "another.machine")
            patch.setattr(psutil, "pid_exists", lambda _: pytest.fail("processes of other machines have other numbers"))
            remove_left(tmp_path)

    write_whole(path, write)
    assert path.read_bytes() == b"whole"
    young, old = tmp_path / ".x.pth.1.tmp", tmp_path / ".x.pth.2.tmp"
    for file in (young, old):
        file.write_bytes(b"of an earlier version")
    os.utime(old, (0, 0))
    remove_left(tmp_path)
    assert sorted(tmp_path.iterdir()) == [young, path]


def test_several_processes_may_write_the_same_file(tmp_path):
    """Two runs that were resumed from one checkpoint."""

    def write() -> list[int]:
        for _ in range(20):
            save_checkpoint({"numbers": torch.arange(100_000)}, tmp_path / "x.pth")
        return torch.load(tmp_path / "x.pth")["numbers"][:3].tolist()

    assert together(2, write) == [[0, 1, 2]] * 2 and len(list(tmp_path.iterdir())) == 1


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "x", lambda file: file.write_bytes(b"half") / 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_others_may_read_what_the_umask_lets_them(tmp_path, umask):
    """safetensors makes files that their owner alone can read."""
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "x.safetensors", lambda file: save_file({"a": torch.ones(2)}, file))
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
    assert torch.equal(load_file(tmp_path / "x.safetensors")["a"], torch.ones(2))


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "shop"
    with pytest.raises(KeyboardInterrupt), whole_folder(path) as folder:
        (folder / "half").touch()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    for name in ("first", "second"):
        with whole_folder(path, replace=True) as folder:
            assert not list(folder.iterdir())
            (folder / name).touch()
        assert [file.name for file in path.iterdir()] == [name]
    with pytest.raises(OSError), whole_folder(path) as folder:
        (folder / "third").touch()
    assert [file.name for file in path.iterdir()] == ["second"] and list(tmp_path.iterdir()) == [path]


def replaced_and_killed(path: Path, at: str, monkeypatch) -> None:
    """A process that replaces a folder and dies at the first or second renaming of the exchange, or while it removes the old one."""
    child = os.fork()
    if not child:
        renamed, rename = [], os.rename

        def dying(source, target):
            renamed.append(source)
            if len(renamed) == {"before": 1, "between": 2}.get(at, 3):
                os.kill(os.getpid(), signal.SIGKILL)
            rename(source, target)

        monkeypatch.setattr(os, "rename", dying)
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        try:
            with whole_folder(path, replace=True, keep=["cache"]) as folder:
                (folder / "data").write_text("new")
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("at", "data"), [("before", "old"), ("between", "old"), ("after", "new")])
def test_a_kill_while_a_folder_is_replaced_loses_nothing(tmp_path, monkeypatch, at, data):
    path = tmp_path / "shop"
    (path / "cache" / "deep").mkdir(parents=True)
    (path / "cache" / "deep" / "vectors").write_text("dear")
    (path / "data").write_text("old")
    replaced_and_killed(path, at, monkeypatch)
    put_back(path)
    assert (path / "data").read_text() == data and (path / "cache" / "deep" / "vectors").read_text() == "dear"
    with whole_folder(path, replace=True, keep=["cache"]) as folder:
        (folder / "data").write_text("newest")
    assert (path / "data").read_text() == "newest" and (path / "cache" / "deep" / "vectors").read_text() == "dear"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_kept_folder_survives_where_the_file_system_has_no_links(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    (tmp_path / "shop" / "cache").mkdir(parents=True)
    (tmp_path / "shop" / "cache" / "vectors").write_text("dear")
    with whole_folder(tmp_path / "shop", replace=True, keep=["cache", "other"]):
        pass
    assert (tmp_path / "shop" / "cache" / "vectors").read_text() == "dear"
