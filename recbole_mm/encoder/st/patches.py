"""Image processors of Qwen2-VL's kind, up to bytes: pictures keep their shape, as patches that a model merges into tokens."""

import copy

import torch
from PIL import Image
from torch import Tensor, nn

from recbole_mm.encoder.geometry import MAX_ASPECT, crop_strip
from recbole_mm.encoder.hf.image import ARITHMETIC, probe_pictures, settings_of, stated_normalisation
from recbole_mm.encoder.patches import PLACE_BYTES, read_places, with_places
from recbole_mm.errors import InputError, one_line

COLOURS = 3


class GridPatches:
    """A picture -> uint8 (L, B), its patches in reading order with their places, and back to what the model takes.

    Picklable, without the encoder's weights.

    Attributes:
        size: (None, B).
        max_patches: of a picture.
        mean, std: per RGB channel, for pixels scaled to 0..1.
    """

    def __init__(self, label: str, processor: object, max_patches: int | None = None):
        """``processor``: an image processor of transformers' that gives ``image_grid_thw``; ``max_patches``: how many a picture may have,
        None for as many as the processor says.

        Raises:
            InputError: it fails on a plain picture, or does more to the pixels than scaling and shifting each channel.
        """
        self.processor = copy.copy(processor)
        size, area = dict(processor.size), processor.patch_size**2
        if max_patches is not None:
            least = processor.merge_size**2
            if max_patches < least:
                raise InputError(f"{label}: encoder_max_patches {max_patches}: a picture has {least} patches at least")
            size = {"shortest_edge": min(size["shortest_edge"], max_patches * area), "longest_edge": max_patches * area}
            self.processor.size = size
        self.max_patches = size["longest_edge"] // area
        for step in ARITHMETIC:
            setattr(self.processor, step, False)
        self.mean, self.std = stated_normalisation(processor)
        self.merge, self.frames = processor.merge_size, processor.temporal_patch_size
        try:
            for picture in probe_pictures():
                self._check(picture, processor)
        except Exception as error:
            raise InputError(f"{label}: its image processor is not supported ({one_line(error)})") from error

    def __call__(self, image: Image.Image) -> Tensor:
        made = self._processed(self.processor, crop_strip(image.convert("RGB")))
        frames, height, width = made["image_grid_thw"][0].tolist()
        if frames != 1:
            raise ValueError(f"{frames} frames of one picture")
        pixels = made["pixel_values"].unflatten(1, (COLOURS, self.frames, -1))[:, :, 0].mT.flatten(1)
        return with_places(pixels[self._order(height, width).argsort()].round().clamp(0, 255), height, width)

    def restore(self, patches: Tensor, pixels: Tensor) -> dict[str, Tensor]:
        """What the model takes for n > 0 pictures.

        Args:
            patches: uint8 (n, L, B).
            pixels: the same without their places, normalised, (n, L, B - 4).
        """
        grid = self._grid(patches)
        found = []
        for (height, width), own in zip(grid.tolist(), pixels.unflatten(2, (-1, COLOURS)), strict=True):
            own = nn.functional.pad(own, (0, 0, 0, 0, 0, height * width - len(own)))
            found.append(own[self._order(height, width).to(own.device)])
        frames = torch.cat(found).mT.unsqueeze(2).expand(-1, -1, self.frames, -1)
        return {"pixel_values": frames.flatten(1), "image_grid_thw": nn.functional.pad(grid, (1, 0), value=1)}

    def tokens(self, patches: Tensor) -> Tensor:
        """int64 (n,), how many tokens each of n > 0 pictures becomes."""
        return self._grid(patches).prod(1) // self.merge**2

    def geometry(self) -> dict:
        return {"max_aspect": MAX_ASPECT, "patch": self.size[1], **settings_of(self.processor)}

    def _grid(self, patches: Tensor) -> Tensor:
        """int64 (n, 2), rows and columns of patches: at least as many as become one token, also of a picture that is not there."""
        return -(-read_places(patches)[2] // self.merge) * self.merge

    def _order(self, height: int, width: int) -> Tensor:
        """The places, in reading order, of the patches as the model takes them: those that become one token follow each other."""
        cells = torch.arange(height * width).view(height // self.merge, self.merge, width // self.merge, self.merge)
        return cells.transpose(1, 2).flatten()

    @staticmethod
    def _processed(processor: object, image: Image.Image, **options: object) -> dict[str, Tensor]:
        return processor(image, input_data_format="channels_last", return_tensors="pt", **options)

    def _check(self, picture: Image.Image, processor: object) -> None:
        patches = self(picture)[None]
        self.size = (None, patches.shape[2])
        mean, std = torch.tensor([self.mean, self.std]).view(2, COLOURS)
        pixels = (patches[:, :, :-PLACE_BYTES].unflatten(2, (-1, COLOURS)) / 255 - mean) / std
        ours, theirs = self.restore(patches, pixels.flatten(2)), self._processed(processor, picture, size=dict(self.processor.size))
        error = (ours["pixel_values"] - theirs["pixel_values"]).abs().max()
        if error > 0.6 / 255 / min(self.std) or not torch.equal(ours["image_grid_thw"], theirs["image_grid_thw"]):
            raise ValueError("it does more to the pixels than scale and shift each channel")
