"""The picture pack of pictures that differ in size: one after the other, without padding."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.data import pack as pack_module
from recbole_mm.data.pack import ImagePack

SIZE = (None, 6)
LENGTHS = [3, 1, 7, 2, 5, 4, 7, 1, 6, 2]


def preprocess(image: Image.Image) -> torch.Tensor:
    """A row of bytes per two pixels."""
    return torch.from_numpy(np.array(image)).reshape(-1, 6)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[list[Path], list[torch.Tensor]]:
    (tmp_path / "pictures").mkdir()
    draw, paths, made = np.random.default_rng(0), [], []
    for i, length in enumerate(LENGTHS):
        pixels = draw.integers(0, 256, (length, 2, 3), dtype=np.uint8)
        paths.append(tmp_path / "pictures" / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
        made.append(torch.from_numpy(pixels).reshape(length, 6))
    return paths, made


def build(cache: Path, paths: list[Path | None]):
    return ImagePack.build(cache, paths, preprocess, "k", SIZE)


def test_a_batch_is_as_long_as_its_longest_picture(tmp_path: Path, pictures, monkeypatch) -> None:
    monkeypatch.setattr(pack_module, "CHUNK_ROWS", 3)
    paths, made = pictures
    pack, rows, broken = build(tmp_path / "cache", [None, *paths])
    assert not broken and len(pack) == len(LENGTHS) and rows[0] == -1
    for some in ([3], [1, 3, 2], list(range(1, 11)), [10, 0, 5], [2, 2]):
        read = pack.read(rows[some])
        lengths = [LENGTHS[i - 1] if i else 0 for i in some]
        assert read.dtype == torch.uint8 and read.shape == (len(some), max(lengths), 6)
        for i, length, row in zip(some, lengths, read, strict=True):
            assert torch.equal(row[:length], made[i - 1][:length]) and not row[length:].any()
    assert pack.read([]).shape == (0, 1, 6) and pack.read([-1]).tolist() == [[[0] * 6]]
    with pytest.raises(IndexError):
        pack.read([10])
    assert torch.equal(pickle.loads(pickle.dumps(pack)).read(rows[1:2]), made[0].unsqueeze(0))


def test_no_byte_is_padding(tmp_path: Path, pictures) -> None:
    build(tmp_path / "cache", pictures[0])
    folder = tmp_path / "cache" / "images-k-anyx6"
    assert (folder / "pixels.bin").read_bytes() == b"".join(p.numpy().tobytes() for p in pictures[1])
    ends = [int(line.split()[1], 16) for line in (folder / "rows.txt").read_text().splitlines()]
    assert ends == (6 * np.cumsum(LENGTHS)).tolist()


@pytest.mark.parametrize("damage", ["half a line", "half a picture", "a line before its pixels", "an end before its start", "garbage"])
def test_a_damaged_pack_is_made_whole(tmp_path: Path, pictures, damage: str) -> None:
    build(tmp_path / "whole", pictures[0])
    build(tmp_path / "cache", pictures[0][:6])
    folder = tmp_path / "cache" / "images-k-anyx6"
    journal, pixels = folder / "rows.txt", folder / "pixels.bin"
    if damage == "half a line":
        journal.write_bytes(journal.read_bytes()[:-9])
    elif damage == "half a picture":
        pixels.write_bytes(pixels.read_bytes()[:-4])
    elif damage == "a line before its pixels":
        journal.write_bytes(journal.read_bytes() + b"0" * 32 + b" %012x\n" % 999)
    elif damage == "an end before its start":
        journal.write_bytes(journal.read_bytes()[:-13] + b"%012x\n" % 7)
    else:
        journal.write_bytes(journal.read_bytes()[:100] + b"?" * 80)
    pack, rows, _ = build(tmp_path / "cache", pictures[0])
    assert torch.equal(pack.read(rows), torch.nn.utils.rnn.pad_sequence(pictures[1], batch_first=True))
    for name in ("rows.txt", "pixels.bin"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / "images-k-anyx6" / name).read_bytes()


def test_pictures_of_another_width_are_refused(tmp_path: Path, pictures) -> None:
    with pytest.raises(ValueError, match=r"the pack needs torch.uint8 \(None, 8\)"):
        ImagePack.build(tmp_path / "cache", pictures[0], preprocess, "k", (None, 8))
