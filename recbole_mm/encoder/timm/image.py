"""timm's evaluation transform, up to uint8 pixels."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.encoder.geometry import MAX_ASPECT, crop_strip
from recbole_mm.errors import InputError, one_line

GEOMETRY = ("input_size", "crop_mode", "crop_pct", "interpolation")


class TimmImage:
    """A picture -> uint8 (3, H, W), so that (pixels / 255 - mean) / std is timm's own evaluation transform.

    Picklable, without the encoder's weights.
    """

    def __init__(self, data: dict):
        """``data``: arguments of ``timm.data.create_transform``: input_size (3, H, W), crop_mode (center | squash | border), crop_pct,
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

    def normalisation(self) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
        """(H, W), and mean and standard deviation per RGB channel."""
        return self.data["input_size"][1:], self.data["mean"], self.data["std"]

    def geometry(self) -> dict:
        """Everything that decides the pixels; the borders of the crop mode "border" have the colour of the mean."""
        border = {"fill": self.data["mean"]} if self.data["crop_mode"] == "border" else {}
        return {"transform": "timm", "max_aspect": MAX_ASPECT, **{key: self.data[key] for key in GEOMETRY}, **border}


def read_image(label: str, config: dict) -> TimmImage:
    """The transform that a ``pretrained_cfg`` describes.

    Raises:
        InputError: it is not for RGB pictures, or timm cannot use it.
    """
    from timm.data import resolve_data_config

    data = {key: tuple(value) if isinstance(value, list) else value for key, value in resolve_data_config(pretrained_cfg=config).items()}
    if len(data["input_size"]) != 3 or data["input_size"][0] != 3:
        raise InputError(f"{label}: its pretrained_cfg has input_size {data['input_size']}, which is no (3, height, width) of RGB pictures")
    try:
        image = TimmImage(data)
        image(Image.new("RGB", (40, 30)))
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, ZeroDivisionError) as error:
        raise InputError(
            f"{label}: its pretrained_cfg does not say how pictures are prepared ({type(error).__name__}: {one_line(error)})"
        ) from error
    return image
