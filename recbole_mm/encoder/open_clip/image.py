"""open_clip's evaluation transform, up to uint8 pixels."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.encoder.geometry import crop_strip


class OpenClipImage:
    """A picture -> uint8 (3, H, W), so that (pixels / 255 - mean) / std is open_clip's own evaluation transform.

    Small and picklable: it can be sent to worker processes without the encoder's weights.
    """

    def __init__(self, geometry: dict):
        """``geometry``: size (H, W), resize_mode (shortest | longest | squash), interpolation, fill_color."""
        self.geometry = geometry
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
        if self.geometry["resize_mode"] != "squash":
            image = crop_strip(image)
        for step in self.steps:
            image = step(image)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()
