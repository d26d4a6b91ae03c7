"""Random damage to pictures and item files: a message or the right content, for every item, and never anything else.

``RECBOLE_MM_FUZZ=2000`` tries more than the usual number.
"""

import io
import os
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.content import ItemContent
from recbole_mm.errors import InputError
from recbole_mm.testing.planted import settings, write_planted
from recbole_mm.training.loaders import create_dataset

FUZZ = int(os.environ.get("RECBOLE_MM_FUZZ", 300))
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
SIZE = (8, 10)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed (most often near the start), cut off, put in, taken out, doubled, or emptied."""
    kind, at = rng.integers(7), int(rng.integers(len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.bytes(int(rng.integers(1, 50))) + data[at:]
    if kind == 2:
        return data[:at] + data[at + int(rng.integers(1, 20)) :]
    if kind == 3:
        return b"" if rng.random() < 0.1 else data + data[:at]
    out = bytearray(data)
    for place in rng.integers(0, min(len(data), 64) if kind < 6 else len(data), int(rng.integers(1, 9))):
        out[place] = int(rng.integers(256))
    return bytes(out)


def squash(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize(SIZE[::-1]))).permute(2, 0, 1).contiguous()


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_pictures(tmp_path, kind):
    """A damaged one is a picture of the right shape, or absent for a reason; the items beside it keep theirs."""
    rng, count = np.random.default_rng(FORMATS.index(kind)), max(FUZZ // len(FORMATS), 1)
    whole = [Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(count)]
    folder = tmp_path / "images"
    folder.mkdir()
    names = ["", *(f"{i}.{part}" for i in range(count) for part in ("bad", "good"))]
    for i, image in enumerate(whole):
        data = encoded(image, kind)
        (folder / f"{i}.bad").write_bytes(damaged(data, rng))
        (folder / f"{i}.good").write_bytes(data)
    content = ItemContent(["[PAD]", *names[1:]], names, None, folder, tmp_path / "cache", max_broken_images=1.0)
    content.use_preprocessing(squash, "squash", SIZE)
    pixels, present = content.images(range(len(names)))[1:], content.present["image"][1:]
    assert pixels.shape == (2 * count, 3, *SIZE) and bool(present[1::2].all())
    assert not pixels[~present].any() and (count < 20 or 0 < (~present[::2]).sum() < count)
    for image, found in zip(whole, pixels[1::2], strict=True):
        assert torch.equal(found, squash(Image.open(io.BytesIO(encoded(image, kind))).convert("RGB")))


def test_damaged_item_files(tmp_path):
    """Cells may hold other letters after bytes were changed; an item never has the text of another. (What is taken out is shorter than
    a row: from the middle of one text to that of the next it would leave a row that looks whole.)"""
    rng = np.random.default_rng(0)
    folder = write_planted(tmp_path / "shop")
    file = folder / "shop.item"
    tokens = [f"i{i}" for i in range(48)]
    quotes = {1: '"{}"', 2: '"a ""{}"""', 3: '"one\nline, {}"'}
    titles = [quotes.get(i % 4, "{}").format(" ".join([f"w{i}w"] * 9)) for i in range(48)]
    rows = [f"{token}\t{title}\té & 日本 {token}\t{i}.png" for i, (token, title) in enumerate(zip(tokens, titles, strict=True))]
    file.write_text("\n".join(["item_id:token\ttitle:token_seq\tdescription:token_seq\timage:token", *rows]) + "\n", encoding="utf-8")
    data = file.read_bytes()
    dataset = create_dataset(MultiModalConfig("CLIPRec", "shop", config_dict=settings(folder)))
    refused = 0
    for _ in range(FUZZ):
        file.write_bytes(damaged(data, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                content = dataset.read_content()
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and ("shop.item" in str(error) or "image_dir" in str(error)), error
            continue
        texts = content.texts(range(len(content))) if "text" in content.modalities else []
        for token, text in zip(content.tokens(range(len(texts))), texts, strict=True):
            words = re.findall(r"w(\d+)w", text)
            assert not words or words.count(token[1:]) > len(words) / 2, (token, text)
    assert FUZZ // 5 < refused < FUZZ
