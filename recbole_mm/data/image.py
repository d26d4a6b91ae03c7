"""Picture files: decoding to RGB, the default geometry, paths that stay inside the picture folder, the index of known files."""

import contextlib
import json
import os
import posixpath
import time
from io import BytesIO
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError

if TYPE_CHECKING:
    import torch

DEFAULT_SIZE = (224, 224)
SETTLED_NS = 2_000_000_000


class BrokenImage(ValueError):
    """A picture that cannot be used; the message is the reason in a few words."""


def load_image(source: str | Path | BinaryIO) -> Image.Image:
    """Decodes a picture file (a path or an open binary stream) to an upright RGB image.

    EXIF orientation is applied, transparency is composited on white, and grayscale of more than 8 bits is scaled to 0..255. Of an
    animation the first frame is taken.

    Raises:
        BrokenImage: missing, empty, truncated or not a picture, or more pixels than `PIL.Image.MAX_IMAGE_PIXELS` (checked on the
            header, before anything is decoded).
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
            return _to_rgb(_upright(image))
    except (BrokenImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BrokenImage("not a picture in a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImage("too many pixels (decompression bomb)") from error
    except Exception as error:  # Pillow's format plugins raise almost anything on damaged bytes
        raise BrokenImage(f"damaged: {error}") from error


def read_error(error: OSError) -> str:
    """Why a file could not be read, in a few words."""
    return "no such file" if isinstance(error, (FileNotFoundError, NotADirectoryError)) else f"cannot be read: {error.strerror}"


def _refuse_bomb(image: Image.Image) -> None:
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise BrokenImage(f"too many pixels (decompression bomb): {image.width} x {image.height}")


def _upright(image: Image.Image) -> Image.Image:
    """EXIF orientation applied; a picture whose EXIF block is damaged is taken as it lies."""
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
    """uint8 (H, W) of a deep grayscale image: 16-bit modes by their full range; integer and float pixels by the smallest
    customary range that holds them (0..1 for floats, 0..255, 0..65535), or else by their own minimum and maximum."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if not image.mode.startswith("I;16"):
        ranges = ([1.0] if image.mode == "F" else []) + [255.0, 65535.0]
        high = next((top for top in ranges if values.min() >= 0 and values.max() <= top), None)
        if high is None:
            low, high = values.min(), values.max()
    return np.rint((values - low) * 255.0 / ((high - low) or 1.0)).astype(np.uint8)


def resolve_image_path(image_dir: Path, name: str) -> Path:
    """The path of the picture `name` (relative, "/" between folders) inside `image_dir`, lexically normalised.

    Raises:
        InputError: the name is absolute or climbs out of `image_dir`, read with "/" or with "/" and "\\" as separators; or a link on
            the way leads out of it.
    """
    names = posixpath.normpath(name), posixpath.normpath(name.replace("\\", "/"))
    absolute = name.startswith(("/", "\\")) or PureWindowsPath(name).is_absolute() or Path(name).drive
    if absolute or "\0" in name or any(normal.split("/")[0] == ".." for normal in names):
        raise InputError(f"picture {name!r} lies outside image_dir {image_dir}; name it by a path inside that folder.")
    if links_out(image_dir, names[0]):
        raise InputError(f"picture {name!r} is a link out of image_dir {image_dir}; put the picture itself into that folder.")
    return Path(image_dir) / names[0]


def links_out(folder: Path, name: str) -> bool:
    """Does a link on the way to `name`, a normalised path below `folder`, lead out of it? `folder` itself may be a link."""
    parts = name.split("/")
    if not any(os.path.islink(os.path.join(folder, *parts[: i + 1])) for i in range(len(parts))):
        return False
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(os.path.join(folder, name))]) != root


def default_geometry(image: Image.Image) -> "torch.Tensor":
    """uint8 (3, 224, 224) of an RGB image: shortest side to 224 (bicubic), centre crop. Used while no encoder is attached."""
    import torch  # the command prepare reads this module, and needs no torch

    height, width = DEFAULT_SIZE
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()


class FileIndex:
    """`files.json`: path relative to the cache -> [size, mtime_ns, hash], so that unchanged files are not read again."""

    def __init__(self, cache_dir: Path):
        self.root, self.path = os.path.abspath(cache_dir), Path(cache_dir) / "files.json"
        self.entries = self._load()

    def _load(self) -> dict[str, list]:
        try:
            entries = json.loads(self.path.read_bytes()).items()
        except (OSError, ValueError, AttributeError):
            return {}
        return {name: entry for name, entry in entries if isinstance(entry, list) and [*map(type, entry)] == [int, int, str]}

    def _name(self, path: Path) -> str:
        try:
            return os.path.relpath(path, self.root).replace(os.sep, "/")
        except ValueError:  # another drive
            return os.path.abspath(path)

    def digest(self, path: Path, stamp: list[int]) -> str | None:
        """The hash recorded for this path at this [size, mtime_ns], if any."""
        entry = self.entries.get(self._name(path))
        return entry[2] if entry is not None and entry[:2] == stamp else None

    def record(self, path: Path, stamp: list[int], digest: str) -> None:
        """A file written a moment ago is not recorded: it could change again within one tick of the file system's clock."""
        if time.time_ns() - stamp[1] > SETTLED_NS:
            self.entries[self._name(path)] = [*stamp, digest]

    def save(self) -> None:
        """Replaces the file in one step, keeping what other processes have added to it."""
        self.entries = {**self._load(), **self.entries}
        write_whole(self.path, lambda file: file.write_text(json.dumps(self.entries)))
