"""Which pictures are nearly identical, such as one picture saved twice: their colours agree everywhere, in thumbnails of 16 x 16 pixels."""

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

SIDE = 16
"""Pixels of a thumbnail's side."""
MEAN_DIFFERENCE = 3.5
"""How far two thumbnails may be apart: the root mean square over all values, which are 0 to 255."""
PIXEL_DIFFERENCE, BLOCK_DIFFERENCE = 32, 12
"""How much a value may differ anywhere, of one pixel and of the mean of 2 x 2 pixels. Saving a picture as JPEG again blurs the edges of
colours but leaves areas as they are, so an object in another colour differs by more, however small it is on its background."""
DIRECTIONS = 8
"""Directions in which thumbnails vary most, in which neighbours are looked for before all values are compared."""


def thumbnail(image: Image.Image) -> np.ndarray:
    """An RGB picture in 16 x 16 pixels: uint8 (768,)."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(-1)


def look_alikes(thumbnails: np.ndarray) -> np.ndarray:
    """Groups pictures that are nearly identical. All of a group are so to its first picture, so a row of pictures in which each one
    resembles the next is no group.

    Args:
        thumbnails: uint8 (n, 768), see ``thumbnail``.

    Returns:
        int (n,): a group number for each picture.
    """
    places = _projected(thumbnails)
    tree = cKDTree(places)
    groups = np.full(len(thumbnails), -1)
    for first in range(len(thumbnails)):
        if groups[first] < 0:
            near = np.array(tree.query_ball_point(places[first], MEAN_DIFFERENCE * thumbnails.shape[1] ** 0.5 * 1.001))
            near = near[groups[near] < 0]
            groups[near[nearly_identical(thumbnails[first], thumbnails[near])]] = first
    return groups


def nearly_identical(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of other thumbnails are nearly identical to one: bool (n,)."""
    difference = (others.astype(np.int16) - one).reshape(-1, SIDE, SIDE, 3)
    blocks = difference.reshape(-1, SIDE // 2, 2, SIDE // 2, 2, 3).mean((2, 4))
    mean = np.square(difference, dtype=np.float32).mean((1, 2, 3)) ** 0.5
    pixel, block = np.abs(difference).max((1, 2, 3)), np.abs(blocks).max((1, 2, 3))
    return (mean <= MEAN_DIFFERENCE) & (pixel <= PIXEL_DIFFERENCE) & (block <= BLOCK_DIFFERENCE)


def _projected(thumbnails: np.ndarray) -> np.ndarray:
    """The thumbnails in the few directions in which they vary most. No distance grows by that."""
    sample = thumbnails[:: max(1, len(thumbnails) // 2000)].astype(np.float64)
    _, directions = np.linalg.eigh(np.cov(sample, rowvar=False) if len(sample) > 1 else np.eye(sample.shape[1]))
    return thumbnails.astype(np.float32) @ directions[:, -DIRECTIONS:].astype(np.float32)
