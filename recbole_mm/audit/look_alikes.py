"""Which pictures look the same: a difference hash of 64 bits finds candidates, and a colour thumbnail of 8 x 8 pixels decides."""

from itertools import combinations

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MAX_DISTANCE = 2
"""In how many bits the hashes of pictures that look the same may differ."""
MAX_COLOUR_DIFFERENCE = 8
"""How much their thumbnails may differ: the mean over all values, which are 0 to 255."""
EDGE = 2
"""A difference of grey levels up to this is no edge, so that noise on a plain background sets no bit of the hash."""
BANDS = 4
"""Parts of a hash. Of two hashes that differ in MAX_DISTANCE = BANDS - 2 bits, at least two bands are equal."""
WINDOW = 8
"""How many of the next hashes in the sorted order each one is compared with."""


def difference_hash(image: Image.Image) -> int:
    """A 64-bit hash; bit (r, c) says whether cell (r, c + 1) of an 8 x 9 grid is lighter than cell (r, c)."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(np.diff(grey, axis=1) > EDGE).tobytes(), "big")


def thumbnail(image: Image.Image) -> np.ndarray:
    """An RGB picture in 8 x 8 pixels: uint8 (192,)."""
    return np.asarray(image.resize((8, 8), Image.Resampling.BOX)).reshape(-1)


def look_alikes(hashes: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Groups pictures that look the same, directly or through others that look like both.

    Hashes are sorted by every two of their four bands and compared only with the next few, which takes n log n steps.

    Args:
        hashes: uint64 (n,), see ``difference_hash``.
        thumbnails: uint8 (n, 192), see ``thumbnail``.

    Returns:
        int (n,): a group number for each picture.
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
