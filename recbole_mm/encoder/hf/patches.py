"""The image processor of SigLIP2 NaFlex, up to bytes: pictures keep their shape, as sequences of patches."""

import copy

from PIL import Image
from torch import Tensor

from recbole_mm.encoder.hf.image import ARITHMETIC, largest_error, probe_pictures, settings_of, stated_normalisation
from recbole_mm.encoder.patches import PLACE_BYTES, with_places
from recbole_mm.errors import InputError, one_line


class HfPatches:
    """A picture -> uint8 (L, B), its patches with their places. Normalised, they are what the folder's own image processor gives before it
    pads them.

    Picklable, without the encoder's weights.

    Attributes:
        size: (None, B).
        max_patches: of a picture.
        mean, std: per RGB channel, for pixels scaled to 0..1.
    """

    def __init__(self, label: str, processor: object, max_patches: int | None = None):
        """``processor``: an image processor of transformers' that gives patches; ``max_patches``: how many a picture may have, None for
        as many as the processor says.

        Raises:
            InputError: it fails on a plain picture, or does more to the pixels than scaling and shifting each channel.
        """
        self.processor = copy.copy(processor)
        self.max_patches = self.processor.max_num_patches = max_patches or processor.max_num_patches
        for step in ARITHMETIC:
            setattr(self.processor, step, False)
        self.mean, self.std = stated_normalisation(processor)
        options = {"max_num_patches": self.max_patches, "return_tensors": "pt"}
        try:
            ours = [self(picture) for picture in probe_pictures()]
            theirs = [processor(picture, **options)["pixel_values"][0] for picture in probe_pictures()]
        except Exception as error:
            raise InputError(f"{label}: its image processor fails on a plain picture ({one_line(error)})") from error
        self.size = (None, ours[0].shape[1])
        pairs = [(_colours(a[:, :-PLACE_BYTES]), _colours(b[: len(a)])) for a, b in zip(ours, theirs, strict=True)]
        if largest_error((self.mean, self.std), *zip(*pairs, strict=True)) > 0.6 / 255:
            raise InputError(f"{label}: its image processor does more to the pixels than scale and shift each channel")

    def __call__(self, image: Image.Image) -> Tensor:
        made = self.processor(image.convert("RGB"), input_data_format="channels_last", return_tensors="pt")
        height, width = made["spatial_shapes"][0].tolist()
        return with_places(made["pixel_values"][0, : height * width].round().clamp(0, 255), height, width)

    def geometry(self) -> dict:
        return {**settings_of(self.processor), "patch": self.size[1]}


def _colours(patches: Tensor) -> Tensor:
    """(L, 3 P) -> (3, L, P)."""
    return patches.unflatten(1, (-1, 3)).movedim(2, 0)
