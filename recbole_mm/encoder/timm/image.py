"""timm's evaluation transform, up to uint8 pixels."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.encoder.geometry import MAX_ASPECT, crop_strip

GEOMETRY = ("input_size", "crop_mode", "crop_pct", "interpolation")


class TimmImage:
    """A picture -> uint8 (3, H, W), so that (pixels / 255 - mean) / std is timm's own evaluation transform.

    Picklable, without the encoder's weights.
    """

    def __init__(self, data: dict):
        """``data``: what ``timm.data.resolve_data_config`` gives: input_size (3, H, W), crop_mode (center | squash | border), crop_pct,
        interpolation, mean, std."""
        from timm.data import create_transform
        from timm.data.transforms import MaybeToTensor
        from torchvision.transforms import Normalize

        self.data = data
        whole = create_transform(**data, is_training=False)
        self.steps = [step for step in whole.transforms if not isinstance(step, (MaybeToTensor, Normalize))]

    def __reduce__(self):
        return TimmImage, (self.data,)

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            image = image.convert("RGB")
        if self.data["crop_mode"] != "squash":
            image = crop_strip(image)
        for step in self.steps:
            image = step(image)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()

    def geometry(self) -> dict:
        """Everything that decides the pixels; the borders of the crop mode "border" have the colour of the mean."""
        border = {"fill": self.data["mean"]} if self.data["crop_mode"] == "border" else {}
        return {"transform": "timm", "max_aspect": MAX_ASPECT, **{key: self.data[key] for key in GEOMETRY}, **border}
