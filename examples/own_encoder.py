"""An encoder of one's own in one file: the colours of a picture and the words of a text, each through a small network.

It is registered under a name, and CLIPRec trains it end-to-end as it would any other encoder. Every recommender takes it, frozen or
trained. The file could as well lie in recbole_mm/encoder/: then `--encoder=colours:small` finds it.
"""

import zlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import register_backend

WORDS, LENGTH = 4096, 32


class ColoursAndWords(ItemEncoder):
    name, modalities, output_dims = "colours:small", ("image", "text"), {"image": 32, "text": 32}
    image_size, pad_id, from_scratch = (32, 32), 0, True

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS, 64, mode="mean", padding_idx=self.pad_id)
        self.layer = nn.ModuleDict({m: nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for m in self.modalities})
        self.projection = nn.ModuleDict({m: nn.Linear(64, 32) for m in self.modalities})

    @staticmethod
    def preprocess_image(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image.convert("RGB").resize((32, 32)))).permute(2, 0, 1)

    def tokenize(self, texts: list[str]) -> Tensor:
        ids = torch.full((len(texts), LENGTH), self.pad_id)
        for row, text in zip(ids, texts, strict=True):
            words = [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in text.lower().split()[:LENGTH]]
            row[: len(words)] = torch.tensor(words)
        return ids

    def histogram(self, pixels: Tensor) -> Tensor:
        """uint8 (n, 3, H, W) -> (n, 64): which share of the pixels has each of 4 x 4 x 4 colours."""
        red, green, blue = (pixels.long() // 64).flatten(2).unbind(1)
        colours = 16 * red + 4 * green + blue
        shares = torch.full_like(colours, 1 / colours.shape[1], dtype=self.words.weight.dtype)
        return shares.new_zeros(len(pixels), 64).scatter_add(1, colours, shares)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        read = {"image": self.histogram, "text": self.words}
        if unknown := inputs.keys() - read.keys():
            raise ValueError(f"{self.name} reads pictures and texts, not {unknown}")
        return {m: self.projection[m](self.layer[m](read[m](values))) for m, values in inputs.items()}

    def towers(self) -> list[list[nn.Module]]:
        return [[self.layer[m]] for m in self.modalities]

    def head(self) -> list[str]:
        return [f"projection.{m}.{part}" for m in self.modalities for part in ("weight", "bias")]

    def geometry(self) -> dict:
        return {"transform": "resize", "size": self.image_size}

    def describe(self) -> dict:
        return {"backend": "colours", "words": WORDS, "length": LENGTH}


@register_backend("colours")
def create_colours(name: str, source: str | None, *, seed: int = 0) -> ColoursAndWords:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ColoursAndWords().eval()


if __name__ == "__main__":
    from recbole_mm import run

    settings = {"epochs": 8, "show_progress": False, "state": "WARNING"}
    small = {"encoder": "colours:small", "encoder_learning_rate": 0.01, "use_id": False}
    for model, own in {"Pop": {}, "CLIPRec": small}.items():
        result = run(model, "demo", config_dict={**settings, **own})["test_result"]
        print(f"{model}: recall@20 {result['recall@20']:.3f}")
