"""Geometry shared by encoders whose pictures are squashed to a square."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class SquashImage:
    """A picture -> uint8 (3, S, S): bicubic (antialiased) to the square, aspect ratio and all, no crop.

    What VLMo's and BEiT-3's released evaluation transforms do before their mean and standard deviation of 0.5. Picklable.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            image = image.convert("RGB")
        image = image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()
