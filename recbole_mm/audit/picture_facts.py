"""What an audit needs to know about a picture file, without its pixels."""

from collections.abc import Sequence
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from recbole_mm.audit.look_alikes import thumbnail
from recbole_mm.data.image import BrokenImage, load_image, read_error
from recbole_mm.parallel.read_ahead import available_cores, read_ahead
from recbole_mm.terminal import Bar

FILES_AHEAD = 4
"""Files per thread that are read before their turn."""
ONE_COLOUR = 5
"""A picture is (nearly) of one colour if the standard deviation of every channel is below this; values are 0 to 255."""
SAME_FORMAT = {"MPO": "JPEG"}


class PictureFacts(NamedTuple):
    """Facts about one picture file.

    Attributes:
        reason: why the file cannot be used; only ``digest`` is then known, if the file can be read at all. None for a usable picture.
        digest: the hash of its bytes.
        size: width and height in pixels, upright.
        format: Pillow's name for the format of the content.
        right_name: whether the extension of the file fits its format.
        plain: whether it is (nearly) of one colour.
        thumbnail: see ``look_alikes``.
    """

    reason: str | None
    digest: str
    size: tuple[int, int] = (0, 0)
    format: str = ""
    right_name: bool = True
    plain: bool = False
    thumbnail: np.ndarray | None = None


def picture_facts(path: Path) -> PictureFacts:
    """Decodes one picture file as a run does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return PictureFacts(read_error(error), "")
    digest = blake2b(data, digest_size=16).hexdigest()
    try:
        image = load_image(BytesIO(data))
        with Image.open(BytesIO(data)) as header:
            kind = SAME_FORMAT.get(header.format, header.format or "")
    except BrokenImage as error:
        return PictureFacts(str(error), digest)
    expected = Image.registered_extensions().get(path.suffix.lower(), kind)
    small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), dtype=np.float32).reshape(-1, 3)
    plain = bool((small.std(0) < ONE_COLOUR).all())
    right_name = SAME_FORMAT.get(expected, expected) == kind
    return PictureFacts(None, digest, image.size, kind, right_name, plain, thumbnail(image))


def facts_of_all(paths: Sequence[Path], show_progress: bool) -> list[PictureFacts]:
    """``picture_facts`` of each file, in order; several are read at a time."""
    threads = available_cores()
    facts = read_ahead(picture_facts, paths, threads, FILES_AHEAD * threads)
    return list(Bar(facts, "Looking at pictures", len(paths), disable=not show_progress))
