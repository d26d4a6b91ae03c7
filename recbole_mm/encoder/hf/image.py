"""transformers' image processors, up to uint8 pixels."""

import copy
import json

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.encoder.geometry import MAX_ASPECT, crop_strip
from recbole_mm.errors import InputError, one_line

ARITHMETIC = ("do_rescale", "do_normalize", "include_top")
"""Steps that come after the geometry; the last one is EfficientNet's second normalisation."""

NOT_GEOMETRY = {
    *ARITHMETIC,
    "image_mean",
    "image_std",
    "rescale_factor",
    "rescale_offset",
    "auto_map",
    "processor_class",
    "_processor_class",
    "image_processor_type",
    "feature_extractor_type",
    "return_tensors",
    "device",
    "data_format",
    "input_data_format",
    "transformers_version",
}
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

PROBES = ((150, 90), (60, 200))


class HfImage:
    """A picture -> uint8 (3, H, W), so that (pixels / 255 - mean) / std is what the folder's own image processor gives.

    Picklable, without the encoder's weights.

    Attributes:
        size: (H, W) in pixels.
        mean, std: per RGB channel, for pixels scaled to 0..1; they include any other rescaling that the processor does.
    """

    def __init__(self, label: str, processor: object):
        """``processor``: an image processor of transformers'.

        Raises:
            InputError: it gives pictures of several sizes, or does more to the pixels than scaling and shifting each channel.
        """
        self.processor = copy.copy(processor)
        for step in ARITHMETIC:
            setattr(self.processor, step, False)
        pictures = probe_pictures()
        try:
            ours, theirs = [self(picture) for picture in pictures], [_pixels(processor, picture) for picture in pictures]
        except Exception as error:
            raise InputError(f"{label}: its image processor fails on a plain picture ({one_line(error)})") from error
        if any(pixels.dim() != 3 or pixels.shape != ours[0].shape or pixels.shape[0] != 3 for pixels in ours):
            shapes = " and ".join(str(tuple(pixels.shape)) for pixels in ours)
            raise InputError(
                f"{label}: its image processor gives {shapes} for pictures of two shapes; encoders of one fixed resolution are supported, "
                "and SigLIP2 NaFlex"
            )
        self.size = tuple(ours[0].shape[1:])
        known = (stated_normalisation(processor), _fitted(ours, theirs))
        found = next((found for found in known if largest_error(found, ours, theirs) < 0.6 / 255), None)
        if found is None:
            raise InputError(f"{label}: its image processor does more to the pixels than scale and shift each channel")
        self.mean, self.std = found

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            image = image.convert("RGB")
        pixels = _pixels(self.processor, image if self.squashes else crop_strip(image))
        return pixels if pixels.dtype == torch.uint8 else pixels.round().clamp(0, 255).to(torch.uint8)

    @property
    def squashes(self) -> bool:
        """Does the processor resize to a fixed height and width, whatever the shape of the picture?"""
        size = getattr(self.processor, "size", None)
        return isinstance(size, dict) and set(size) == {"height", "width"} or getattr(size, "height", None) is not None

    def geometry(self) -> dict:
        return {"max_aspect": MAX_ASPECT, "pixels": self.size, **settings_of(self.processor)}


def settings_of(processor: object) -> dict:
    """What decides which pixels an image processor of transformers' gives, and its kind as ``transform``."""
    settings = json.loads(processor.to_json_string())
    kind = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    kept = {key: value for key, value in settings.items() if key not in NOT_GEOMETRY and value is not None}
    return {"transform": f"transformers {kind}", **kept}


def probe_pictures() -> list[Image.Image]:
    """A wide and a tall picture of noise."""
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in PROBES]


def _pixels(processor: object, image: Image.Image) -> Tensor:
    """(3, H, W). The layout is given explicitly, because a picture of very few pixels per side would be taken for channels."""
    return processor(image, input_data_format="channels_last", return_tensors="pt")["pixel_values"][0]


def stated_normalisation(processor: object) -> Normalisation:
    """(mean, std) for pixels in 0..1 as the settings name them: (x f - m) / s = (x / 255 - m / 255f) / (s / 255f)."""
    normalises = getattr(processor, "do_normalize", False)
    mean = np.broadcast_to(processor.image_mean if normalises else 0.0, 3)
    std = np.broadcast_to(processor.image_std if normalises else 1.0, 3)
    scale = 255 * processor.rescale_factor if getattr(processor, "do_rescale", False) else 255.0
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale
    return tuple(float(m / scale) for m in mean), tuple(float(s / scale) for s in std)


def _fitted(ours: list[Tensor], theirs: list[Tensor]) -> Normalisation:
    """(mean, std) that turn our pixels into theirs, for processors with additional steps (EfficientNet's, and so ALIGN's)."""
    x, y = (torch.cat([pixels.flatten(1) for pixels in side], dim=1).double() for side in (ours, theirs))
    x = x / 255
    slope = ((x - x.mean(1, keepdim=True)) * y).sum(1) / (x - x.mean(1, keepdim=True)).square().sum(1)
    std = 1 / slope
    mean = x.mean(1) - y.mean(1) * std
    return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std)


def largest_error(found: Normalisation, ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference between our normalised pixels and theirs, on the scale of pixels in 0..1."""
    mean, std = torch.tensor(found, dtype=torch.float64).view(2, 3, 1, 1)
    return max(float(((a / 255 - mean) / std - b).mul(std).abs().max()) for a, b in zip(ours, theirs, strict=True))
