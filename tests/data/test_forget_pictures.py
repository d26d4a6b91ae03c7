"""Pictures leave the packs of a cache, under the eyes of processes that read them."""

import json
import os
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.data import forget_pictures as module
from recbole_mm.data.forget_pictures import forget_pictures
from recbole_mm.data.pack import ImagePack

N = 6


@pytest.fixture(params=["one size", "several sizes"])
def shop(request, tmp_path):
    """The picture files, the pixels of each, and what builds the pack of them; the files were written long ago."""
    draw, paths, pixels = np.random.default_rng(0), [], []
    for i in range(N):
        array = draw.integers(1, 256, (i + 1 if request.param == "several sizes" else 4, 2, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(array).save(paths[-1])
        os.utime(paths[-1], (1e9, 1e9))
        pixels.append(
            torch.from_numpy(array).reshape(-1, 6) if request.param == "several sizes" else torch.from_numpy(array).permute(2, 0, 1)
        )
    size = (None, 6) if request.param == "several sizes" else (4, 2)

    def prepare(picture: Image.Image) -> torch.Tensor:
        array = torch.from_numpy(np.array(picture))
        return array.reshape(-1, 6) if size[0] is None else array.permute(2, 0, 1)

    return paths, pixels, lambda files: ImagePack.build(tmp_path / "cache", files, prepare, "k", size)


def digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def same(read: torch.Tensor, pixels: torch.Tensor) -> bool:
    return torch.equal(read[: len(pixels)], pixels) and not read[len(pixels) :].any()


def test_others_are_read_as_before_by_whoever_has_the_pack_open(shop, tmp_path):
    paths, pixels, build = shop
    pack, rows, _ = build(paths)
    pack.read(rows)
    gone = [digest(paths[i]) for i in (0, 3)]
    assert forget_pictures(tmp_path / "cache", set(gone), {paths[0], paths[3]}) == 2
    for reader in (pack, build([paths[1]])[0]):
        read = reader.read(rows)
        assert all(same(read[i], pixels[i]) for i in (1, 2, 4, 5)) and not read[[0, 3]].any()
    for file in (tmp_path / "cache").rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        assert not any(pixels[i].numpy().tobytes() in data or digest(paths[i]).encode() in data for i in (0, 3))
    assert sorted(json.loads((tmp_path / "cache" / "files.json").read_text())) == [f"../{i}.png" for i in (1, 2, 4, 5)]
    assert forget_pictures(tmp_path / "cache", set(gone), set()) == 0


def test_a_forgotten_picture_may_come_back(shop, tmp_path):
    paths, pixels, build = shop
    build(paths)
    forget_pictures(tmp_path / "cache", {digest(paths[2])}, {paths[2]})
    pack, rows, broken = build(paths)
    assert rows.tolist() == [0, 1, N, 3, 4, 5] and not broken
    assert all(same(read, own) for read, own in zip(pack.read(rows), pixels, strict=True))


def test_what_a_killed_call_left_is_taken_out_by_the_next(shop, tmp_path, monkeypatch):
    """It has written the journal and not yet the pixels."""
    paths, pixels, build = shop
    build(paths)
    write = module.write_at

    def killed(path: Path, offset: int, data: bytes) -> None:
        if path.name == "pixels.bin":
            raise KeyboardInterrupt
        write(path, offset, data)

    monkeypatch.setattr(module, "write_at", killed)
    with pytest.raises(KeyboardInterrupt):
        forget_pictures(tmp_path / "cache", {digest(paths[2])}, ())
    monkeypatch.setattr(module, "write_at", write)
    file = next((tmp_path / "cache").glob("images-*/pixels.bin"))
    assert pixels[2].numpy().tobytes() in file.read_bytes()
    pack, rows, _ = build(paths)
    assert same(pack.read(rows[2:3])[0], pixels[2])
    forget_pictures(tmp_path / "cache", {digest(paths[2])}, ())
    assert pixels[2].numpy().tobytes() not in file.read_bytes()


def test_a_cache_without_pictures(tmp_path):
    assert forget_pictures(tmp_path / "none", {"0" * 32}, {tmp_path / "0.png"}) == 0
    assert not (tmp_path / "none").exists()
