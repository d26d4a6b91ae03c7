"""Random views of pictures: cropped, mirrored and recoloured, as tensors on their own device."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from recbole_mm.encoder.patches import PLACE_BYTES, read_places

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in a picture's grey (ITU-R BT.601)."""
RATIOS = (3 / 4, 4 / 3)
DRAWS = 8


@torch.no_grad()
def augment_pictures(
    pixels: Tensor, crop: float = 0.2, flip: float = 0.5, jitter: float = 0.4, generator: Generator | None = None
) -> Tensor:
    """A random view of each picture; every picture draws its own.

    First a part of the picture is cut out and resized to its whole size (random resized crop: Szegedy et al., arXiv 1409.4842), perhaps
    mirrored; then brightness, contrast and saturation change, in this order. The hue stays as it is, because items are told apart by
    their colours.

    Args:
        pixels: uint8 (n, 3, H, W), or (n, L, B) of patches (see ``patches``), whose pictures keep their shapes; they stay as they are.
        crop: the smallest share of the area that is cut out; 1 leaves the whole picture.
        flip: the probability that a picture is mirrored from left to right.
        jitter: each of the three factors on the colours is between 1 - jitter and 1 + jitter; 0 leaves the colours.
        generator: a generator of the CPU; None draws from the global one. The same numbers give the same views on every device.

    Returns:
        uint8, of the same shape and on the same device.

    Raises:
        TypeError: the pixels are not uint8.
        ValueError: they have another shape, or a setting is out of its range: 0 < crop <= 1, 0 <= flip <= 1, 0 <= jitter <= 1.
    """
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pictures are augmented as uint8 pixels, not {pixels.dtype}")
    if pixels.dim() != 3 and (pixels.dim() != 4 or pixels.shape[1] != 3):
        raise ValueError(f"pictures are augmented as (n, 3, H, W) or (n, L, B), not {tuple(pixels.shape)}")
    if not (0 < crop <= 1 and 0 <= flip <= 1 and 0 <= jitter <= 1):
        raise ValueError(f"crop {crop}, flip {flip} and jitter {jitter} must be shares, and crop above 0")
    if not len(pixels):
        return pixels.clone()
    lots = torch.rand(len(pixels), DRAWS, generator=generator).to(pixels.device)
    with torch.autocast(pixels.device.type, enabled=False):
        if pixels.dim() == 4:
            return _views(pixels, lots, crop, flip, jitter)
        views = pixels.clone()
        for view, lot, (rows, columns) in zip(views, lots.split(1), read_places(pixels)[2].tolist(), strict=True):
            patches = view[: rows * columns, :-PLACE_BYTES]
            patches.copy_(_to_patches(_views(_to_picture(patches, rows, columns), lot, crop, flip, jitter), rows, columns))
        return views


def _views(pixels: Tensor, lots: Tensor, crop: float, flip: float, jitter: float) -> Tensor:
    views = _cut(pixels.float(), lots[:, :5], crop, flip)
    return _recoloured(views, 1 + jitter * (2 * lots[:, 5:] - 1)).round_().to(torch.uint8)


def _to_picture(patches: Tensor, rows: int, columns: int) -> Tensor:
    """(rows * columns, P * P * 3) -> (1, 3, rows * P, columns * P)."""
    side = math.isqrt(patches.shape[1] // 3)
    return patches.reshape(rows, columns, side, side, 3).permute(4, 0, 2, 1, 3).reshape(1, 3, rows * side, columns * side)


def _to_patches(picture: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of ``_to_picture``."""
    return picture.reshape(3, rows, picture.shape[2] // rows, columns, -1).permute(1, 3, 2, 4, 0).reshape(rows * columns, -1)


def _cut(pixels: Tensor, lots: Tensor, crop: float, flip: float) -> Tensor:
    """Bilinear samples of a rectangle in each picture. A rectangle that would be wider or higher than the picture ends at its edges."""
    height, width = pixels.shape[2:]
    area = crop + (1 - crop) * lots[:, 0]
    ratio = (math.log(RATIOS[0]) + math.log(RATIOS[1] / RATIOS[0]) * lots[:, 1]).exp() * height / width
    ratio = ratio if crop < 1 else torch.ones_like(ratio)
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    mirror = 1 - 2 * (lots[:, 4] < flip).to(wide)
    none = torch.zeros_like(wide)
    across = torch.stack([wide * mirror, none, (2 * lots[:, 2] - 1) * (1 - wide)], 1)
    down = torch.stack([none, high, (2 * lots[:, 3] - 1) * (1 - high)], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _recoloured(pixels: Tensor, factors: Tensor) -> Tensor:
    """Each factor mixes a picture with another one: black, its mean grey, and its own grey."""
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1).unbind(1)
    pixels = (pixels * brightness).clamp_(0, 255)
    pixels = torch.lerp(_grey(pixels).mean((2, 3), keepdim=True), pixels, contrast).clamp_(0, 255)
    return torch.lerp(_grey(pixels), pixels, saturation).clamp_(0, 255)


def _grey(pixels: Tensor) -> Tensor:
    return (pixels * pixels.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
