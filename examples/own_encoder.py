"""An encoder of one's own in one file: which colours a picture has, through a small network.

CLIPRec trains it end-to-end as it would any other encoder, and every recommender takes it, frozen or trained. The file could as well
lie in recbole_mm/encoder/: then `--encoder=colours:small` finds it.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recbole_mm.encoder import ItemEncoder, register_backend


class Colours(ItemEncoder):
    name, modalities, output_dims = "colours:small", ("image",), {"image": 32}
    image_size, from_scratch = (16, 16), True  # the weights are random, so they learn at a higher rate than pretrained ones

    def __init__(self) -> None:
        super().__init__()
        self.block, self.projection = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 32)

    @staticmethod
    def preprocess_image(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image.convert("RGB").resize((16, 16)))).permute(2, 0, 1)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if inputs.keys() - {"image"}:
            raise ValueError(f"{self.name} reads pictures, not {', '.join(inputs)}")
        return {m: self.projection(self.block(self.histogram(pixels))) for m, pixels in inputs.items()}

    def histogram(self, pixels: Tensor) -> Tensor:
        """uint8 (n, 3, H, W) -> (n, 64): the share of the pixels that has each of 4 x 4 x 4 colours."""
        red, green, blue = (pixels.long() // 64).flatten(2).unbind(1)
        return nn.functional.one_hot(16 * red + 4 * green + blue, 64).to(self.projection.weight.dtype).mean(1)

    def towers(self) -> list[list[nn.Module]]:
        return [[self.block]]

    def head(self) -> list[str]:
        return ["projection.weight", "projection.bias"]

    def geometry(self) -> dict:
        return {"transform": "resize", "size": self.image_size}

    def describe(self) -> dict:
        return {"backend": "colours"}


@register_backend("colours")
def create_colours(name: str, source: str | None, *, seed: int = 0) -> Colours:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Colours().eval()


if __name__ == "__main__":
    from recbole_mm import run

    small = {"encoder": "colours:small", "encoder_learning_rate": 0.01, "use_id": False}
    for model, own in {"Pop": {}, "CLIPRec": small}.items():
        result = run(model, "demo", config_dict={"epochs": 8, "show_progress": False, "state": "WARNING", **own})["test_result"]
        print(f"{model}: recall@20 {result['recall@20']:.3f}")
