"""The picture pack: right rows, nothing decoded twice, and whole again after a kill."""

import json
import os
import pickle
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from recbole_mm.data import pack as pack_module
from recbole_mm.data.pack import ImagePack
from tests.processes import together

SIZE = (4, 6)
KILLS = 20
ROOT = Path(__file__).parents[2]


def preprocess(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class Counting:
    """`preprocess`, counting its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: Image.Image) -> torch.Tensor:
        self.calls += 1
        return preprocess(image)


def draw(folder: Path, count: int, seed: int = 0) -> tuple[list[Path], torch.Tensor]:
    """Random lossless pictures of SIZE, written a minute ago, and their pixels (count, 3, 4, 6)."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
    paths = [folder / f"{index:04}.png" for index in range(count)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
        age(path, 60)
    return paths, torch.from_numpy(pixels).permute(0, 3, 1, 2)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def build(cache: Path, paths: list[Path | None], prepare=preprocess, key: str = "k", size=SIZE):
    return ImagePack.build(cache, paths, prepare, key, size)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[list[Path], torch.Tensor]:
    return draw(tmp_path / "pictures", 20)


def test_rows_hold_the_pictures(tmp_path: Path, pictures, monkeypatch) -> None:
    monkeypatch.setattr(pack_module, "CHUNK_ROWS", 3)
    paths, pixels = pictures
    pack, rows, broken = build(tmp_path / "cache", [None, *paths, paths[4]])
    assert rows.dtype == np.int64 and rows[0] == -1 and rows[-1] == rows[5] and not broken
    assert len(pack) == 20
    order = np.random.default_rng(3).permutation(20)
    assert torch.equal(pack.read(rows[1:21][order]), pixels[order])
    repeated = pack.read([int(rows[2]), -1, int(rows[2])])
    assert torch.equal(repeated, torch.stack([pixels[1], torch.zeros_like(pixels[1]), pixels[1]]))
    assert pack.read([]).shape == (0, 3, *SIZE)
    with pytest.raises(IndexError):
        pack.read([20])


def test_layout(tmp_path: Path, pictures) -> None:
    build(tmp_path / "cache", pictures[0], key="clip-1a")
    build(tmp_path / "cache", pictures[0], key="a/../b c")
    folder = tmp_path / "cache" / "images-clip-1a-4x6"
    assert (folder / "pixels.bin").stat().st_size == 20 * 3 * 4 * 6
    assert [len(line) for line in (folder / "rows.txt").read_text().splitlines()] == [32] * 20
    assert sorted(json.loads((tmp_path / "cache/files.json").read_text()))[0] == "../pictures/0000.png"
    assert len(list((tmp_path / "cache").glob("images-*"))) == 2


def test_nothing_is_read_or_decoded_twice(tmp_path: Path, pictures, monkeypatch) -> None:
    paths, pixels = pictures
    build(tmp_path / "cache", paths)
    monkeypatch.setattr(pack_module, "_decode", lambda *_: pytest.fail("read again"))
    pack, rows, _ = build(tmp_path / "cache", paths)
    assert torch.equal(pack.read(rows), pixels)


def test_only_an_added_picture_is_packed(tmp_path: Path, pictures) -> None:
    paths, pixels = pictures
    counting = Counting()
    build(tmp_path / "cache", paths[:19], counting)
    pack, rows, _ = build(tmp_path / "cache", paths[::-1], counting)
    assert counting.calls == 20 and len(pack) == 20
    assert torch.equal(pack.read(rows), pixels.flip(0))


def test_a_moved_picture_is_not_decoded_again(tmp_path: Path, pictures) -> None:
    paths, pixels = pictures
    counting = Counting()
    build(tmp_path / "cache", paths, counting)
    moved = paths[3].rename(paths[3].with_name("moved.png"))
    pack, rows, _ = build(tmp_path / "cache", [moved], counting)
    assert counting.calls == 20 and torch.equal(pack.read(rows)[0], pixels[3])


@pytest.mark.parametrize("age_seconds", [30, 0])
def test_a_changed_picture_gives_its_new_pixels(tmp_path: Path, pictures, age_seconds: int) -> None:
    paths, pixels = pictures
    before, old_rows, _ = build(tmp_path / "cache", paths)
    Image.fromarray(np.full((*SIZE, 3), 7, dtype=np.uint8)).save(paths[2])
    age(paths[2], age_seconds)
    pack, rows, _ = build(tmp_path / "cache", paths)
    expected = pixels.clone()
    expected[2] = 7
    assert torch.equal(pack.read(rows), expected) and torch.equal(before.read(old_rows), pixels)


def test_a_picture_changed_within_one_clock_tick_is_seen(tmp_path: Path) -> None:
    path, now = tmp_path / "p.bmp", time.time_ns()
    for value in (1, 2):
        Image.new("RGB", SIZE[::-1], (value, 0, 0)).save(path)
        os.utime(path, ns=(now, now))
        pack, rows, _ = build(tmp_path / "cache", [path])
        assert pack.read(rows)[0, 0].unique().tolist() == [value]


def test_broken_pictures_are_named_and_not_packed(tmp_path: Path, pictures) -> None:
    paths, pixels = pictures
    paths[1].write_bytes(b"")
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    paths[5].unlink()
    pack, rows, broken = build(tmp_path / "cache", paths)
    assert {index: reason.split(":")[0] for index, reason in broken.items()} == {1: "empty file", 3: "damaged", 5: "no such file"}
    assert len(pack) == 17 and (np.flatnonzero(rows < 0) == [1, 3, 5]).all()
    assert torch.equal(pack.read(rows)[6:], pixels[6:])
    Image.fromarray(pixels[1].permute(1, 2, 0).numpy()).save(paths[1])
    pack, rows, broken = build(tmp_path / "cache", paths)
    assert set(broken) == {3, 5} and torch.equal(pack.read(rows[1:2])[0], pixels[1])


def test_preprocess_faults(tmp_path: Path, pictures) -> None:
    _, rows, broken = build(tmp_path / "cache", pictures[0][:1], lambda image: 1 / 0)
    assert rows[0] == -1 and "preprocessing failed: ZeroDivisionError" in broken[0]
    with pytest.raises(ValueError, match=r"the pack needs torch.uint8 \(3, 8, 8\)"):
        build(tmp_path / "cache", pictures[0], size=(8, 8))
    with pytest.raises(ValueError, match=r"torch.float32"):
        build(tmp_path / "cache", pictures[0], lambda image: preprocess(image).float())


def test_an_interrupt_keeps_what_was_done(tmp_path: Path, pictures) -> None:
    counting, paths = Counting(), pictures[0]

    def interrupted(image: Image.Image) -> torch.Tensor:
        if counting.calls >= 10:
            raise KeyboardInterrupt
        return counting(image)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cache", paths, interrupted)
    packed = len(ImagePack(tmp_path / "cache/images-k-4x6", SIZE))
    assert packed > 0
    counting.calls = 0
    pack, rows, _ = build(tmp_path / "cache", paths, counting)
    assert counting.calls == 20 - packed and torch.equal(pack.read(rows), pictures[1])


@pytest.mark.parametrize(
    "damage",
    [
        "half journal line",
        "half pixel row",
        "garbage line",
        "no journal",
        "no pixels",
        "files.json",
    ],
)
def test_a_damaged_pack_is_made_whole(tmp_path: Path, pictures, damage: str) -> None:
    paths, pixels = pictures
    build(tmp_path / "cache", paths[:10])
    folder = tmp_path / "cache/images-k-4x6"
    journal, raw = folder / "rows.txt", folder / "pixels.bin"
    if damage == "half journal line":
        journal.write_bytes(journal.read_bytes()[:-7])
    elif damage == "half pixel row":
        raw.write_bytes(raw.read_bytes() + bytes(50))
        journal.write_bytes(journal.read_bytes() + b"0" * 32 + b"\n")
    elif damage == "garbage line":
        journal.write_bytes(journal.read_bytes()[: 33 * 4] + bytes(33 * 6))
    elif damage == "no journal":
        journal.unlink()
    elif damage == "no pixels":
        raw.unlink()
    else:
        (tmp_path / "cache/files.json").write_text('{"a": [1, ')
    pack, rows, broken = build(tmp_path / "cache", paths)
    assert torch.equal(pack.read(rows), pixels) and not broken
    assert raw.stat().st_size == 20 * 72 and journal.stat().st_size == 20 * 33 and len(pack) == 20


@pytest.mark.parametrize("content", ["[]", "3", '{"../pictures/0000.png": 4, "b": ["x", 2, null]}', "\x80"])
def test_odd_files_json_is_ignored(tmp_path: Path, pictures, content: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/files.json").write_text(content, encoding="latin-1")
    pack, rows, _ = build(tmp_path / "cache", pictures[0])
    assert torch.equal(pack.read(rows), pictures[1])
    assert len(json.loads((tmp_path / "cache/files.json").read_text())) == 20


def test_pickle_and_late_opening(tmp_path: Path, pictures) -> None:
    pack, rows, _ = build(tmp_path / "cache", pictures[0])
    pack.read(rows)
    data = pickle.dumps(pack)
    assert len(data) < 1000
    assert torch.equal(pickle.loads(data).read(rows), pictures[1])


def test_reading_needs_no_lock(tmp_path: Path, pictures) -> None:
    build(tmp_path / "cache", pictures[0])
    with FileLock(tmp_path / "cache/images-k-4x6/build.lock"):
        pack, rows, _ = build(tmp_path / "cache", pictures[0])
        assert torch.equal(pack.read(rows), pictures[1])


def test_progress_bar_only_when_there_is_work(tmp_path: Path, pictures, terminal) -> None:
    for expected in (True, False):
        ImagePack.build(tmp_path / "cache", pictures[0], preprocess, "k", SIZE, show_progress=True)
        assert ("Packing pictures" in terminal.getvalue()) == expected
        terminal.truncate(0)


def slow(image: Image.Image) -> torch.Tensor:
    time.sleep(0.002)
    return preprocess(image)


def test_sigkill_at_any_moment(tmp_path: Path, monkeypatch) -> None:
    """Each process goes on with what the one before has left; after some kills, all over again."""
    monkeypatch.setattr(pack_module, "CHUNK_ROWS", 8)
    monkeypatch.setattr(pack_module, "SAVE_SECONDS", 0.0)
    paths, pixels = draw(tmp_path / "pictures", 120)
    build(tmp_path / "undisturbed", paths)
    wanted = packed_bytes(tmp_path / "undisturbed")
    moments, killed, halfway, chains = random.Random(0), 0, 0, 0
    while killed < KILLS:
        cache = tmp_path / f"cache{chains}"
        chains += 1
        for _ in range(7):
            if packed(cache) == 120:
                break
            enough = moments.randint(packed(cache), 119)
            pid = os.fork()
            if not pid:
                try:
                    build(cache, paths, slow)
                finally:
                    os._exit(0)
            while packed(cache) < enough and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.02))
            os.kill(pid, signal.SIGKILL)
            if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
                break
            killed += 1
            halfway += 0 < packed(cache) < 120
        counting, before = Counting(), packed(cache)
        pack, rows, _ = build(cache, paths, counting)
        assert counting.calls == 120 - before and torch.equal(pack.read(rows), pixels)
        assert packed_bytes(cache) == wanted
    assert chains > 1 and halfway > 5


def packed(cache: Path) -> int:
    """How many rows a process would find now."""
    return len(ImagePack(cache / "images-k-4x6", SIZE))


def packed_bytes(cache: Path) -> list[bytes]:
    return [(cache / "images-k-4x6" / name).read_bytes() for name in ("pixels.bin", "rows.txt")]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_reading_all_of_a_large_pack_at_random_stays_small_in_memory(tmp_path: Path, monkeypatch) -> None:
    """370 MB of pixels (a file with holes), of which 32 MB may be mapped at a time: memory grows by far less than the pack."""
    folder = tmp_path / "images-k-64x64"
    folder.mkdir()
    (folder / "rows.txt").write_text("".join(f"{i:032x}\n" for i in range(30_000)))
    with open(folder / "pixels.bin", "wb") as pixels:
        pixels.truncate(30_000 * 3 * 64 * 64)
    monkeypatch.setattr(pack_module, "RESIDENT_BYTES", 1 << 25)

    def growth() -> int:
        pack, before = ImagePack(folder, (64, 64)), peak_kilobytes()
        for rows in torch.randperm(len(pack)).split(256):
            assert not pack.read(rows).any()
        return peak_kilobytes() - before

    (grown,) = together(1, growth)
    assert grown < 150_000


def peak_kilobytes() -> int:
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])


def test_two_processes_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pack_module, "CHUNK_ROWS", 8)
    paths, pixels = draw(tmp_path / "pictures", 60)

    def work() -> tuple[int, int, int]:
        pack, rows, broken = build(tmp_path / "cache", paths, slow)
        return len(pack), len(set(rows.tolist())), len(broken)

    assert together(2, work) == [(60, 60, 0)] * 2
    pack, rows, _ = build(tmp_path / "cache", paths)
    assert len(pack) == 60 and torch.equal(pack.read(rows), pixels)
