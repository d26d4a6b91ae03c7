"""Picture files: decoding to RGB, and the geometry they get while no encoder is attached."""

import contextlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

DEFAULT_SIZE = (224, 224)


class BrokenImage(ValueError):
    """A picture that cannot be used. The message says why in a few words."""


def load_image(source: str | Path | BinaryIO) -> Image.Image:
    """Decodes a picture file (a path or an open binary stream) to an upright RGB image.

    EXIF orientation is applied, transparency is composited on white, and grayscale of more than 8 bits is scaled to 0..255. An
    animation gives its first frame.

    Raises:
        BrokenImage: the file is missing, empty, truncated or not a picture, or it has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`
            (which is checked in the header, before anything is decoded).
    """
    try:
        data = Path(source).read_bytes() if isinstance(source, (str, Path)) else source.read()
    except OSError as error:
        raise BrokenImage(read_error(error)) from error
    if not data:
        raise BrokenImage("empty file")
    try:
        with Image.open(BytesIO(data)) as image:
            _refuse_bomb(image)
            image.load()
            return upright_rgb(image)
    except (BrokenImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BrokenImage("not a picture in a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImage("too many pixels (decompression bomb)") from error
    except Exception as error:  # Pillow's format plugins raise almost anything on damaged bytes
        raise BrokenImage(f"damaged: {error}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """A decoded picture as ``load_image`` gives it: upright, RGB, on white."""
    return _to_rgb(_upright(image))


def read_error(error: OSError) -> str:
    """Why a file could not be read, in a few words."""
    return "no such file" if isinstance(error, (FileNotFoundError, NotADirectoryError)) else f"cannot be read: {error.strerror}"


def _refuse_bomb(image: Image.Image) -> None:
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise BrokenImage(f"too many pixels (decompression bomb): {image.width} x {image.height}")


def _upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation. A picture whose EXIF block is damaged stays as it is."""
    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> np.ndarray:
    """Scales a grayscale image of more than 8 bits to uint8 (H, W). 16-bit modes are scaled by their full range. Integers and floats are
    scaled by the smallest usual range that holds them (0..1 for floats, 0..255, 0..65535), or else by their own minimum and maximum."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if not image.mode.startswith("I;16"):
        ranges = ([1.0] if image.mode == "F" else []) + [255.0, 65535.0]
        high = next((top for top in ranges if values.min() >= 0 and values.max() <= top), None)
        if high is None:
            low, high = values.min(), values.max()
    return np.rint((values - low) * 255.0 / ((high - low) or 1.0)).astype(np.uint8)


def default_geometry(image: Image.Image) -> "torch.Tensor":
    """Resizes the shortest side of an RGB image to 224 (bicubic) and crops the centre: uint8 (3, 224, 224). Used while no encoder is
    attached."""
    import torch  # the command prepare reads this module, and needs no torch

    height, width = DEFAULT_SIZE
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()
