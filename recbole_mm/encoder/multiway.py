"""What VLMo and BEiT-3 share under the encoder contract: one transformer that reads pictures, texts, and both in one pass."""

import hashlib
from abc import abstractmethod
from dataclasses import asdict
from typing import Protocol

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import Inputs
from recbole_mm.encoder.geometry import SquashImage
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.encoder.losses import clamped_exp
from recbole_mm.encoder.pretraining_heads import PretrainingHeads

PROBES = ["", "A red cotton T-shirt, size XL (2-pack)!!", "Café & crème brûlée 北京 ☕ 1,234.50 " + "word " * 100]


class Tokenizer(Protocol):
    """Texts -> int64 (n, L), truncated by token and padded to the longest.

    ``special_ids`` and ``mask_id``: see ``JointEncoder``.
    """

    special_ids: tuple[int, ...]
    mask_id: int | None

    def __call__(self, texts: list[str]) -> Tensor: ...


class MultiwayEncoder(JointEncoder):
    """A multiway transformer: blocks that the modalities share, with an expert per modality.

    Rows: the projections of the image's and of the text's [CLS] token (before they are L2-normalised for the contrastive loss), and the
    pooled [CLS] token of the joint pass. Texts are cut to the longest of the batch before they are encoded.

    Args:
        name: the name that the user gave.
        model: has ``config`` (a dataclass with image_size, embed_dim and vocab_size), ``blocks``, ``logit_scale``, and what ``rows`` calls.
        tokenizer: pads with ``pad_id``.
        from_scratch: its weights are random.
        pretraining_heads: see ``JointEncoder``.
    """

    modalities = ("image", "text", "joint")
    aligned = True
    image_mean = image_std = (0.5, 0.5, 0.5)
    pad_id = 0

    def __init__(
        self, name: str, model: nn.Module, tokenizer: Tokenizer, from_scratch: bool, pretraining_heads: PretrainingHeads | None = None
    ):
        super().__init__()
        self.pretraining_heads = pretraining_heads
        self.name, self.model, self.tokenizer, self.from_scratch = name, model, tokenizer, from_scratch
        self.vocabulary_size, self.mask_id, self.special_ids = model.config.vocab_size, tokenizer.mask_id, tokenizer.special_ids
        size = model.config.image_size
        self.image_size = (size, size)
        self.output_dims = dict.fromkeys(self.modalities, model.config.embed_dim)
        self.preprocess_image = SquashImage(size)

    @abstractmethod
    def rows(self, pixels: Tensor | None, token_ids: Tensor | None) -> Tensor:
        """(n, embed_dim), from normalised pixels, from token ids, or from both in one pass; not L2-normalised."""

    def read_pairs(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model.encode_joint(self.normalise(pixels, self.model.logit_scale.dtype), token_ids, token_ids != self.pad_id)
        length = token_ids.shape[1]
        return output.cls_feats, output.features[:, :length] if self.text_first else output.features[:, -length:]

    def forward(self, inputs: dict[str, Inputs]) -> dict[str, Tensor]:
        found = {}
        for modality, values in inputs.items():
            if modality not in self.modalities:
                raise ValueError(f"{self.name} encodes {', '.join(self.modalities)}, not '{modality}'")
            pixels = values[0] if modality == "joint" else values if modality == "image" else None
            token_ids = values[1] if modality == "joint" else values if modality == "text" else None
            weight = self.model.logit_scale
            found[modality] = self.rows(
                None if pixels is None else self.normalise(pixels, weight.dtype),
                None if token_ids is None else self.shorten(token_ids, self.pad_id),
            )
        return found

    def pooled(self, modality: str, hidden: Tensor, inputs: Inputs) -> Tensor:
        return hidden[:, 0]

    def tokenize(self, texts: list[str]) -> Tensor:
        return self.tokenizer(list(texts)) if texts else torch.zeros(0, 1, dtype=torch.int64)

    def weights_module(self) -> nn.Module:
        return self.model

    def towers(self) -> list[list[nn.Module]]:
        return [list(self.model.blocks)]

    def geometry(self) -> dict:
        return {"transform": "squash", "size": self.image_size[0], "interpolation": "bicubic"}

    def describe(self) -> dict:
        return {
            "backend": type(self).__name__,
            "architecture": asdict(self.model.config),
            "mean": self.image_mean,
            "std": self.image_std,
            "pad_id": self.pad_id,
            "tokenizer": hashlib.sha256(repr([self.tokenize([text]).tolist() for text in PROBES]).encode()).hexdigest(),
        }

    def similarity(self) -> tuple[Tensor, Tensor | None]:
        return clamped_exp(self.model.logit_scale), None
