"""open_clip's evaluation transform up to the uint8 pixels."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.compat import fix_torchvision

MAX_ASPECT = 50
"""Longer strips are cropped to this ratio about their centre before resizing: resizing the short side of a 1 x 10000 picture to
224 pixels would take 1.5 GB, and the long side of it would leave no pixel across."""


class OpenClipImage:
    """A picture -> uint8 (3, H, W), so that (pixels / 255 - mean) / std is open_clip's own evaluation transform.

    Small and picklable: it can be sent to worker processes without the encoder's weights.
    """

    def __init__(self, geometry: dict):
        """``geometry``: size (H, W), resize_mode (shortest | longest | squash), interpolation, fill_color."""
        self.geometry = geometry
        fix_torchvision()
        from open_clip.transform import MaybeToTensor, PreprocessCfg, image_transform_v2
        from torchvision.transforms import Normalize

        keys = ("size", "resize_mode", "interpolation", "fill_color")
        whole = image_transform_v2(PreprocessCfg(**{key: geometry[key] for key in keys}), is_train=False)
        self.steps = [step for step in whole.transforms if not isinstance(step, (MaybeToTensor, Normalize))]

    def __reduce__(self):
        return OpenClipImage, (self.geometry,)

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            image = image.convert("RGB")
        image = self._without_extreme_aspect(image)
        for step in self.steps:
            image = step(image)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()

    def _without_extreme_aspect(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        longest = MAX_ASPECT * min(width, height)
        if self.geometry["resize_mode"] == "squash" or max(width, height) <= longest:
            return image
        keep_width, keep_height = min(width, longest), min(height, longest)
        left, top = (width - keep_width) // 2, (height - keep_height) // 2
        return image.crop((left, top, left + keep_width, top + keep_height))
