"""Decoding to RGB, refusing what cannot be used, the default geometry."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recbole_mm.data.image import BrokenImage, default_geometry, load_image

RAMP = np.arange(0, 240, 15, dtype=np.uint8).reshape(2, 8)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def loaded(tmp_path: Path, image: Image.Image, suffix: str = "png", **options) -> np.ndarray:
    image.save(tmp_path / f"picture.{suffix}", **options)
    result = load_image(tmp_path / f"picture.{suffix}")
    assert result.mode == "RGB"
    return np.asarray(result)


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def test_rgb_gray_and_bilevel(tmp_path: Path) -> None:
    assert (loaded(tmp_path, Image.fromarray(COLOURS)) == COLOURS).all()
    assert (loaded(tmp_path, Image.fromarray(RAMP)) == gray(RAMP)).all()
    assert (loaded(tmp_path, Image.fromarray(RAMP > 100)) == gray((RAMP > 100) * np.uint8(255))).all()


def test_palette(tmp_path: Path) -> None:
    assert (loaded(tmp_path, Image.fromarray(COLOURS).quantize(16)) == COLOURS).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_white(tmp_path: Path, mode: str) -> None:
    black = Image.new(mode, (3, 1), 0)
    black.putalpha(Image.fromarray(np.array([[0, 255, 102]], dtype=np.uint8)))
    assert loaded(tmp_path, black)[0].tolist() == [[255] * 3, [0] * 3, [153] * 3]


def test_palette_and_rgb_with_a_transparent_colour(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert loaded(tmp_path, palette, transparency=0)[0].tolist() == [[255] * 3, [40, 50, 60]]
    assert loaded(tmp_path, palette, "gif", transparency=0)[0].tolist() == [[255] * 3, [40, 50, 60]]
    assert loaded(tmp_path, palette.convert("RGB"), transparency=(40, 50, 60))[0].tolist() == [[10, 20, 30], [255] * 3]


def test_cmyk(tmp_path: Path) -> None:
    pixels = loaded(tmp_path, Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "tif")
    assert pixels[0, 0].tolist() == [255, 0, 0]
    red = loaded(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "jpg")[8, 8].astype(int)
    assert np.abs(red - [255, 0, 0]).max() < 6


def test_16_bit_grayscale_is_scaled(tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 257
    for suffix in ("png", "tif"):
        assert (loaded(tmp_path, Image.fromarray(deep), suffix) == gray(RAMP)).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 65535, 32768]], dtype=np.int32), [0, 255, 128]),
        (np.array([[0, 255, 128]], dtype=np.int32), [0, 255, 128]),
        (np.array([[-100, 100, 0]], dtype=np.int32), [0, 255, 128]),
        (np.array([[0.0, 1.0, 0.2]], dtype=np.float32), [0, 255, 51]),
        (np.array([[0.0, 255.0, 7.0]], dtype=np.float32), [0, 255, 7]),
        (np.array([[-1.0, 1.0, np.nan]], dtype=np.float32), [0, 255, 128]),
        (np.array([[1e6, 1e6, 1e6]], dtype=np.float32), [0, 0, 0]),
    ],
)
def test_32_bit_grayscale_is_scaled(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    assert loaded(tmp_path, Image.fromarray(values), "tif")[0, :, 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(COLOURS)
    stored = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the transposition that the flag undoes
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = upright if stored is None else upright.transpose(Image.Transpose(stored))
    assert (loaded(tmp_path, lying, exif=exif) == COLOURS).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_does_not_matter(tmp_path: Path) -> None:
    assert (loaded(tmp_path, Image.fromarray(COLOURS), exif=b"Exif\0\0MM\0*nonsense") == COLOURS).all()


def test_broken_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "gif"):
        Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / "cut").write_bytes(data[: len(data) // 2])
        with pytest.raises(BrokenImage, match="damaged"):
            load_image(tmp_path / "cut")
    for name, data, reason in (("zero", b"", "empty file"), ("page", b"<html>404</html>", "not a picture in a known format")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BrokenImage, match=f"^{reason}$"):
            load_image(tmp_path / name)
    with pytest.raises(BrokenImage, match="^no such file$"):
        load_image(tmp_path / "none.png")
    with pytest.raises(BrokenImage, match="cannot be read: Is a directory"):
        load_image(tmp_path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [99, 40])
def test_decompression_bombs_are_refused_before_decoding(tmp_path: Path, monkeypatch, limit: int) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BrokenImage, match="decompression bomb"):
        load_image(tmp_path / "bomb.png")


def test_as_many_pixels_as_allowed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert loaded(tmp_path, Image.new("RGB", (10, 10))).shape == (10, 10, 3)


def test_default_geometry() -> None:
    wide = np.zeros((224, 448, 3), dtype=np.uint8)
    wide[:, 112:336] = (10, 20, 30)
    wide[0, 112] = 255
    out = default_geometry(Image.fromarray(wide))
    assert out.dtype == torch.uint8 and out.shape == (3, 224, 224) and out.is_contiguous()
    assert torch.equal(out, torch.from_numpy(wide[:, 112:336].copy()).permute(2, 0, 1))


def test_default_geometry_is_resize_then_crop() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 448, 3), dtype=np.uint8)).resize((448, 672))
    expected = np.asarray(image.resize((224, 336), Image.Resampling.BICUBIC).crop((0, 56, 224, 280)))
    assert np.abs(default_geometry(image).permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_default_geometry_of_a_line_is_cheap() -> None:
    assert default_geometry(Image.new("RGB", (60000, 1), "red"))[0].min() == 255
