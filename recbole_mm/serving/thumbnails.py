"""Small pictures of the items: made from the data set's pictures, and kept in one memory-mapped file."""

import json
from collections.abc import Sequence
from io import BytesIO
from logging import getLogger
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from recbole_mm.data.image import BrokenImage, load_image, upright_rgb
from recbole_mm.data.picture_paths import resolve_image_path
from recbole_mm.disk import write_whole
from recbole_mm.errors import InputError
from recbole_mm.parallel.read_ahead import available_cores, read_ahead
from recbole_mm.terminal import Bar

SIDE = 256
"""Pixels of a thumbnail's longer side, at most."""
QUALITY = 82
HEADER_BYTES = 248
"""With the eight bytes before it, the header of a file of thumbnails is as long as 32 numbers of its ``starts``."""


def thumbnail_of(picture: Image.Image | Path | bytes) -> bytes:
    """A JPEG of a picture, upright and of at most 256 pixels on the longer side. What a camera wrote beside the pixels is left out.

    Raises:
        BrokenImage: the file or the bytes are no picture.
    """
    if not isinstance(picture, Image.Image):
        picture = load_image(BytesIO(picture) if isinstance(picture, bytes) else picture)
    small, file = upright_rgb(picture), BytesIO()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.info.clear()
    small.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


class FilePictures:
    """The thumbnails of n items, each made from the picture file when it is asked for.

    Args:
        names: the paths of the pictures below ``image_dir``, "" for no picture.
        image_dir: the folder; no path leads out of it.
    """

    def __init__(self, names: Sequence[str], image_dir: Path) -> None:
        self.names, self.image_dir = names, image_dir

    def __len__(self) -> int:
        return len(self.names)

    def has(self, row: int) -> bool:
        """Whether the item names a picture."""
        return bool(self.names[row])

    def __getitem__(self, row: int) -> bytes | None:
        """The JPEG of an item; None where it has no picture that can be read."""
        made = self.make(row)
        return made if isinstance(made, bytes) else None

    def make(self, row: int) -> bytes | str | None:
        """The JPEG of an item, or why its picture cannot be used; None where it names none."""
        if not self.names[row]:
            return None
        try:
            return thumbnail_of(resolve_image_path(self.image_dir, self.names[row]))
        except (BrokenImage, InputError) as error:
            return f"{self.names[row]}: {error}"


class StoredThumbnails:
    """The thumbnails of n items in a file that ``write_thumbnails`` has made. The file is memory-mapped.

    Raises:
        InputError: it is no such file.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._file = safe_open(str(file), framework="np")
            self._bytes, self.starts = self._file.get_slice("bytes"), self._file.get_tensor("starts")
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file} cannot be read as thumbnails: {error}") from error
        if self.starts.dtype != np.int64 or self.starts[-1:] != self._bytes.get_shape() or (np.diff(self.starts) < 0).any():
            raise InputError(f"{file} is not whole: its pictures do not begin where it says")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def has(self, row: int) -> bool:
        """Whether the item has a thumbnail."""
        return bool(self.starts[row] < self.starts[row + 1])

    def __getitem__(self, row: int) -> bytes | None:
        """The JPEG of an item; None without one."""
        return self._bytes[int(self.starts[row]) : int(self.starts[row + 1])].tobytes() if self.has(row) else None


def write_thumbnails(file: Path, pictures: FilePictures, show_progress: bool = False) -> int:
    """Writes the thumbnails of n items into a ``.safetensors`` file, one after another: ``bytes``, uint8 (total,), in which the JPEG of
    item i is ``bytes[starts[i]:starts[i + 1]]``, with ``starts``, int64 (n + 1,). Pictures that cannot be used are left out, and the log
    counts them.

    Returns:
        How many items have a thumbnail.
    """
    sizes, broken = np.zeros(len(pictures), dtype=np.int64), []

    def write(temporary: Path) -> None:
        threads = available_cores()
        made = read_ahead(pictures.make, range(len(pictures)), threads, 2 * threads)
        with open(temporary, "wb") as out, Bar(made, "Making thumbnails", len(pictures), disable=not show_progress) as progress:
            out.seek(8 + HEADER_BYTES + 8 * (len(sizes) + 1))
            for row, thumbnail in enumerate(progress):
                if isinstance(thumbnail, str):
                    broken.append(thumbnail)
                elif thumbnail:
                    out.write(thumbnail)
                    sizes[row] = len(thumbnail)
            starts = np.concatenate([[0], sizes.cumsum()]).astype("<i8")
            out.seek(0)
            out.write(_header(len(starts), int(starts[-1])) + starts.tobytes())

    write_whole(file, write)
    if broken:
        named = sum(map(pictures.has, range(len(pictures))))
        getLogger(__name__).warning(f"{len(broken)} of {named} pictures cannot be used for thumbnails, for example {broken[0]}")
    return int((sizes > 0).sum())


def _header(n_starts: int, n_bytes: int) -> bytes:
    """How a ``.safetensors`` file of ``starts`` and then ``bytes`` begins."""
    names = {
        "starts": {"dtype": "I64", "shape": [n_starts], "data_offsets": [0, 8 * n_starts]},
        "bytes": {"dtype": "U8", "shape": [n_bytes], "data_offsets": [8 * n_starts, 8 * n_starts + n_bytes]},
    }
    return HEADER_BYTES.to_bytes(8, "little") + json.dumps(names).encode().ljust(HEADER_BYTES)
