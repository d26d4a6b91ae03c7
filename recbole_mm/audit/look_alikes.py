"""Which pictures look the same: a difference hash (64 bits) finds candidates, an 8 x 8 colour thumbnail decides."""

from itertools import combinations

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MAX_DISTANCE = 2  # bits of the hash
MAX_COLOUR_DIFFERENCE = 8  # levels of 255, mean over the thumbnail
STEP = 2  # levels: a smaller one between neighbours is no edge, so that noise on plain ground sets no bit
BANDS = 4  # two that are equal are sure to be found in hashes at most MAX_DISTANCE = BANDS - 2 bits apart
WINDOW = 8


def difference_hash(image: Image.Image) -> int:
    """Bit (r, c): is the grey level of cell (r, c + 1) of a 8 x 9 grid above that of (r, c)?"""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(np.diff(grey, axis=1) > STEP).tobytes(), "big")


def thumbnail(image: Image.Image) -> np.ndarray:
    """uint8 (192,) of an RGB picture."""
    return np.asarray(image.resize((8, 8), Image.Resampling.BOX)).reshape(-1)


def look_alikes(hashes: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """A group number for each of n pictures; those that look the same (or are linked by such) have the same.

    Hashes are sorted by every two of their four bands and compared with the next few only: n log n.

    Args:
        hashes: uint64 (n,). thumbnails: uint8 (n, 192).
    """
    n, pairs = len(hashes), []
    bands = (hashes[:, None] >> np.arange(0, 64, 64 // BANDS, dtype=np.uint64)) & np.uint64(0xFFFF)
    light = thumbnails.sum(1, dtype=np.int64)
    for a, b in combinations(range(BANDS), 2):
        order = np.lexsort((light, hashes, bands[:, b], bands[:, a]))
        for step in range(1, min(WINDOW, n - 1) + 1):
            left, right = order[:-step], order[step:]
            near = np.flatnonzero(_distance(hashes[left], hashes[right]) <= MAX_DISTANCE)
            left, right = left[near], right[near]
            colour = np.abs(thumbnails[left].astype(np.int16) - thumbnails[right]).mean(1)
            pairs.append(np.stack([left, right])[:, colour <= MAX_COLOUR_DIFFERENCE])
    left, right = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.int64)
    return connected_components(coo_array((np.ones(len(left)), (left, right)), shape=(n, n)), directed=False)[1]


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.unpackbits((a ^ b).view(np.uint8).reshape(-1, 8), axis=1).sum(1)
