"""The journal of added items: whole batches for every reader, whatever happens to those who write."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from recbole_mm.serving.journal import AddedItem, Journal, JournalError, RemovedItem


def item(token: str, number: float = 0.5, **more) -> AddedItem:
    row = np.full(4, number, np.float32)
    return AddedItem(token, row, {"image": row * 2, "text": row * 3}, {"image": True, "text": False}, **more)


def tokens(entries) -> list[str]:
    return [entry.item for entry in entries]


def test_what_one_writes_another_reads_once(tmp_path):
    writer, reader = Journal(tmp_path), Journal(tmp_path)
    assert reader.news() == []
    writer.append([item("a", 1 / 3, title='<b>"Ä"\n\u2028</b>', thumbnail=bytes(range(256))), item("b")])
    first, second = reader.news()
    assert (first.item, first.title, first.thumbnail) == ("a", '<b>"Ä"\n\u2028</b>', bytes(range(256))) and second.thumbnail is None
    assert first.vector.dtype == np.float32 and (first.vector == np.float32(1 / 3)).all()
    assert (first.features["text"] == np.float32(1 / 3) * 3).all() and first.present == {"image": True, "text": False}
    assert reader.news() == []
    writer.append([RemovedItem("a")])
    assert reader.news() == [RemovedItem("a")] and tokens(writer.news()) == ["a", "b", "a"] == tokens(Journal(tmp_path).news())


def test_nothing_is_read_where_nothing_is_new(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append([item("a")])
    journal.news()
    monkeypatch.setattr("builtins.open", None)
    assert journal.news() == []


@pytest.mark.parametrize("cut", range(1, 2000, 97))
def test_a_torn_end_is_ignored_and_cut_off(tmp_path, cut):
    """The second batch, of two lines, ends anywhere."""
    journal = Journal(tmp_path)
    journal.append([item("a")])
    whole = journal.file.stat().st_size
    journal.append([item("b"), item("c", thumbnail=b"x" * 700)])
    with open(journal.file, "r+b") as file:
        file.truncate(max(whole, journal.file.stat().st_size - cut))
    before, late = Journal(tmp_path), Journal(tmp_path)
    assert tokens(before.news()) == ["a"] and before.news() == []
    Journal(tmp_path).append([item("d")])
    assert tokens(before.news()) == ["d"] and tokens(late.news()) == ["a", "d"]


def test_a_damaged_line_among_others_is_told(tmp_path):
    journal = Journal(tmp_path)
    for token in "abc":
        journal.append([item(token)])
    text = journal.file.read_bytes()
    journal.file.write_bytes(text.replace(b'"added": "b"', b'"added": "x"'))
    for call in (Journal(tmp_path).news, lambda: Journal(tmp_path).append([item("d")])):
        with pytest.raises(JournalError, match=r"added\.jsonl: line 2 is damaged"):
            call()
    assert b'"d"' not in journal.file.read_bytes()


def test_a_folder_that_was_exported_anew_is_not_written_to(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    journal = Journal(folder)
    journal.append([item("a")])
    assert tokens(journal.news()) == ["a"]
    folder.rename(tmp_path / "old")
    folder.mkdir()
    with pytest.raises(JournalError, match="exported anew"):
        journal.append([item("b")])
    assert journal.news() == [] and not (folder / "added.jsonl").exists()
    Journal(folder).append([item("c")])
    assert journal.news() == [], "it belongs to other vectors"


def test_a_journal_that_was_taken_away_is_told(tmp_path):
    journal = Journal(tmp_path)
    journal.append([item("a")])
    journal.news()
    journal.file.unlink()
    with pytest.raises(JournalError, match="shorter than it was"):
        journal.append([item("b")])


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append([item("a")])

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append([item("b")])
    journal.append([item("c")])
    assert tokens(Journal(tmp_path).news()) == ["a", "c"]


def test_several_write_at_once(tmp_path):
    def write(name: str) -> None:
        own = Journal(tmp_path)
        for number in range(8):
            own.append([item(f"{name}{number}"), item(f"{name}{number}+")])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = tokens(Journal(tmp_path).news())
    assert len(found) == 48 and all(second == f"{first}+" for first, second in zip(found[::2], found[1::2], strict=True))


def add_until_killed(folder, acknowledged) -> None:
    journal = Journal(folder)
    for number in range(10**6):
        journal.append([item(f"{os.getpid()}-{number}-{part}", thumbnail=b"x" * 20_000) for part in range(3)])
        acknowledged.send_bytes(f"{os.getpid()}-{number}".encode())


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_what_was_acknowledged_survives_a_kill_and_nothing_is_half(tmp_path):
    forked, promised = multiprocessing.get_context("fork"), []
    for kill in range(4):
        mine, theirs = forked.Pipe()
        process = forked.Process(target=add_until_killed, args=(tmp_path, theirs))
        process.start()
        promised.append(mine.recv_bytes().decode())
        time.sleep(0.01 * kill)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        theirs.close()
        while mine.poll():
            try:
                promised.append(mine.recv_bytes().decode())
            except EOFError:
                break
    found = tokens(Journal(tmp_path).news())
    assert {f"{batch}-{part}" for batch in promised for part in range(3)} <= set(found)
    assert len(set(found)) == len(found) and all(
        found[at : at + 3] == [f"{found[at][:-2]}-{p}" for p in range(3)] for at in range(0, len(found), 3)
    )
