"""Pictures that keep their shape: sequences of patches of bytes, each with its place, padded with zeros as texts are with tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

PLACE_BYTES = 4
"""At the end of every patch: its row and its column in the picture, counted from 1, two bytes each."""


def with_places(pixels: Tensor, height: int, width: int) -> Tensor:
    """The patches of a picture in reading order, (height * width, 3 P) within 0..255, channels last -> uint8 (height * width, B)."""
    places = torch.cartesian_prod(*(1 + torch.arange(count) for count in (height, width)))
    return torch.cat([pixels.to(torch.uint8), torch.stack([places // 256, places % 256], 2).flatten(1).to(torch.uint8)], 1)


def read_places(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches of n > 0 pictures, uint8 (n, L, B) -> the same without the end that is padding in all of them; bool (n, L), True for patches
    of the picture; and int64 (n, 2), how many rows and columns each picture has. Of a picture without any patch the first one counts.
    """
    high, low = patches[..., -PLACE_BYTES:].long().unflatten(2, (2, 2)).unbind(3)
    places = 256 * high + low
    mask = places[..., 0] > 0
    mask[:, 0] = True
    length = int(mask.sum(1).max())
    return patches[:, :length], mask[:, :length], places.amax(1).clamp(min=1)


def stack_pictures(pictures: Sequence[Tensor]) -> Tensor:
    """What ``preprocess_image`` gives for n > 0 pictures -> what ``forward`` takes: uint8 (n, 3, H, W), or (n, L, B) padded with zeros."""
    return pad_sequence(list(pictures), batch_first=True)
