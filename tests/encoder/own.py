"""Encoders of a user's own: as little as the contract asks for."""

from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.encoder.pretraining_heads import PretrainingHeads, drawn
from recbole_mm.encoder.seeding import seeded

WIDTH, SIDE, VOCABULARY = 16, 16, 60
PAD, MASK = 0, 1


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.linear(x))


class OwnEncoder(ItemEncoder):
    """Patches and words through one tower of blocks; a row is the mean over what is no padding."""

    modalities = ("image", "text")
    output_dims = {"image": 8, "text": 8}
    image_size = (SIDE, SIDE)
    pad_id = PAD
    from_scratch = True

    def __init__(self, name: str = "own:x"):
        super().__init__()
        self.name = name
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.out = nn.Linear(WIDTH, 8)

    def forward(self, inputs: dict[str, Inputs]) -> dict[str, Tensor]:
        return {m: self.out(self.hidden(*self.parts(m, values))[0]) for m, values in inputs.items()}

    def parts(self, modality: str, values: Inputs) -> tuple[Tensor | None, Tensor | None]:
        """The pictures and the texts."""
        return values if modality == "joint" else (values, None) if modality == "image" else (None, values)

    def hidden(self, pixels: Tensor | None, token_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean over the positions, (n, WIDTH), and all of them, a text's first."""
        tokens, seen = [], []
        if token_ids is not None:
            token_ids = self.shorten(token_ids, PAD)
            tokens, seen = [self.words(token_ids)], [token_ids != PAD]
        if pixels is not None:
            tokens.append(self.patches(self.normalise(pixels, self.out.weight.dtype)).flatten(2).mT)
            seen.append(torch.ones(tokens[-1].shape[:2], dtype=torch.bool, device=pixels.device))
        x, seen = torch.cat(tokens, 1), torch.cat(seen, 1).unsqueeze(2)
        for block in self.blocks:
            x = block(x)
        return (x * seen).sum(1) / seen.sum(1).clamp(min=1), x

    def towers(self) -> list[list[nn.Module]]:
        return [list(self.blocks)]

    def head(self) -> list[str]:
        return ["out.weight", "out.bias"]

    def geometry(self) -> dict:
        return {"transform": "squash", "size": SIDE}

    def describe(self) -> dict:
        return {"backend": "own"}

    def preprocess_image(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image.convert("RGB").resize((SIDE, SIDE)))).permute(2, 0, 1).contiguous()

    def tokenize(self, texts: list[str]) -> Tensor:
        rows = [[2 + crc32(word.encode()) % (VOCABULARY - 2) for word in text.split()[:8]] for text in texts]
        return torch.tensor([row + [PAD] * (8 - len(row)) for row in rows], dtype=torch.int64).view(-1, 8)


class SilentJoint(OwnEncoder):
    """Reads both in one pass, and does not say how."""

    modalities = ("image", "text", "joint")
    output_dims = dict.fromkeys(modalities, 8)


class OwnJoint(SilentJoint, JointEncoder):
    """Says how, and may have heads."""

    text_first = True
    vocabulary_size, mask_id, special_ids = VOCABULARY, MASK, (PAD,)

    def __init__(self, name: str = "own_joint:x", heads: bool = False):
        super().__init__(name)
        if heads:
            match, words = (drawn(lambda n=n: nn.Linear(WIDTH, n), 0) for n in (2, VOCABULARY))
            self.pretraining_heads = PretrainingHeads(match, words, frozenset({"match", "words"}))

    def read_pairs(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        rows, x = self.hidden(pixels, token_ids)
        return rows, x[:, : token_ids.shape[1]]

    def weights_module(self) -> nn.Module:
        return self


def made(kind: type[OwnEncoder], seed: int = 0, **options: bool) -> OwnEncoder:
    """In eval mode, its weights drawn under the seed."""
    with seeded(seed):
        return kind(**options).eval()
