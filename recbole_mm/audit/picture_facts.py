"""What a picture file is like, without keeping its pixels."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from recbole_mm.audit.look_alikes import difference_hash, thumbnail
from recbole_mm.data.image import BrokenImage, load_image, read_error

BLOCK = 1024
ONE_COLOUR = 5  # levels of 255: a smaller standard deviation in every channel is (nearly) one colour
SAME_FORMAT = {"MPO": "JPEG"}


class PictureFacts(NamedTuple):
    """``reason``: why the file cannot be used, in which case nothing but ``digest`` is told. ``size`` in pixels (width, height),
    upright; ``format``, Pillow's name for the content; ``right_name``: the extension fits it; ``plain``: (nearly) of one colour."""

    reason: str | None
    digest: str
    size: tuple[int, int] = (0, 0)
    format: str = ""
    right_name: bool = True
    plain: bool = False
    hash: int = 0
    thumbnail: np.ndarray | None = None


def picture_facts(path: Path) -> PictureFacts:
    """Decodes one picture file just as a run does."""
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
    return PictureFacts(None, digest, image.size, kind, right_name, plain, difference_hash(image), thumbnail(image))


def facts_of_all(paths: Sequence[Path], show_progress: bool) -> Iterator[PictureFacts]:
    """``picture_facts`` of each, in order, several at a time."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bar = tqdm(total=len(paths), desc="Looking at pictures", unit="picture", ncols=100, leave=False, disable=not show_progress)
    with bar, ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), BLOCK):
            for facts in pool.map(picture_facts, paths[start : start + BLOCK]):
                bar.update()
                yield facts
