"""How a sentence-transformers model reads pictures."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_mm.encoder.hf.image import HfImage, probe_pictures
from recbole_mm.encoder.hf.patches import HfPatches
from recbole_mm.encoder.hf.processor import prepares, read_processor
from recbole_mm.encoder.st.patches import GridPatches
from recbole_mm.encoder.st.words import PictureWords, find_words


class Pictures(NamedTuple):
    """How a model reads pictures.

    Attributes:
        reader: prepares them.
        words: where they stand among tokens; None for a model that reads pictures without any.
    """

    reader: HfImage | HfPatches | GridPatches
    words: PictureWords | None

    def counts(self, pictures: Tensor) -> Tensor:
        """int64 (n,), how many tokens stand for each of n > 0 pictures."""
        if isinstance(self.reader, GridPatches):
            return self.reader.tokens(pictures)
        return torch.full((len(pictures),), self.words.count, device=pictures.device)


def find_pictures(
    label: str, first: nn.Module, prepare: Callable[[list], dict[str, object]], trust_remote_code: bool, max_patches: int | None
) -> Pictures:
    """How a model reads pictures: by its own image processor in the PIL version, whose pixels are the same everywhere.

    Args:
        first: the first of its modules.
        prepare: its own preprocessing.

    Raises:
        InputError: they are prepared or put among tokens in a way that is not supported.
    """
    with TemporaryDirectory() as folder:
        getattr(first.processor, "image_processor", first.processor).save_pretrained(folder)
        processor = read_processor(label, Path(folder), trust_remote_code)
    grid = "image_grid_thw" in processor.model_input_names
    reader = GridPatches(label, processor, max_patches) if grid else prepares(label, processor, max_patches)
    return Pictures(reader, find_words(label, prepare, probe_pictures()[0]))
