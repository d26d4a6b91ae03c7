"""Geometry of pictures that several encoders share."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MAX_ASPECT = 50
"""The largest ratio of a picture's sides. Longer strips are first cropped to it about their centre: resizing the short side of a 1 x 10000
picture to 224 pixels would take 1.5 GB, and resizing its long side would leave no pixel across."""


def crop_strip(image: Image.Image) -> Image.Image:
    """The picture, cropped about its centre where it is more than ``MAX_ASPECT`` times longer than wide."""
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    keep_width, keep_height = min(width, longest), min(height, longest)
    left, top = (width - keep_width) // 2, (height - keep_height) // 2
    return image.crop((left, top, left + keep_width, top + keep_height))


class SquashImage:
    """A picture -> uint8 (3, S, S): resized to the square, whatever its aspect ratio (bicubic, antialiased), and not cropped.

    VLMo's and BEiT-3's released evaluation transforms do this before they apply their mean and standard deviation of 0.5. Picklable.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            image = image.convert("RGB")
        image = image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()
