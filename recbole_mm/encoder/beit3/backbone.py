"""The embeddings of BEiT-3 and its stack of blocks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbole_mm.encoder.beit3.block import Block, Experts, join, split
from recbole_mm.encoder.beit3.config import BEiT3Config

RESERVED = 2
"""Rows at the start of both position tables that no position uses."""


class VisionEmbedding(nn.Module):
    """A picture -> [CLS] and its patches. The mask token was only used in pretraining."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        self.size = config.image_size
        self.proj = nn.Conv2d(3, config.embed_dim, kernel_size=config.patch_size, stride=config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, image_size, image_size) -> (n, 1 + num_patches, D)."""
        if tuple(pixels.shape[1:]) != (3, self.size, self.size):
            raise ValueError(f"this BEiT-3 takes pixels of shape (n, 3, {self.size}, {self.size}), not {tuple(pixels.shape)}")
        patches = self.proj(pixels).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)


class Encoder(nn.Module):
    """Positions, blocks and final norms."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        rows = {"A": RESERVED + 1 + config.num_patches, "B": config.max_positions}
        self.embed_positions = nn.ModuleDict({modality: nn.Embedding(n, config.embed_dim) for modality, n in rows.items()})
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.layer_norm = Experts(lambda: nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps))

    def place(self, modality: str, x: Tensor) -> Tensor:
        """(n, L, D) embeddings with their positions added."""
        table = self.embed_positions[modality].weight[RESERVED:]
        if x.shape[1] > len(table):
            raise ValueError(f"{x.shape[1]} tokens, and positions for {len(table)} at most")
        return x + table[: x.shape[1]]


class Backbone(nn.Module):
    """The part that released weights name ``beit3``."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        self.text_embed = nn.Embedding(config.vocab_size, config.embed_dim)
        self.vision_embed = VisionEmbedding(config)
        self.encoder = Encoder(config)

    def forward(
        self,
        pixels: Tensor | None,
        token_ids: Tensor | None,
        attention_mask: Tensor | None,
        recompute: bool = False,
        cls_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Position 0 before the final norm, (n, D), and all positions after it, (n, L, D): first a picture's, then a text's.

        Args:
            pixels, token_ids, attention_mask: see ``BEiT3``; None for an absent modality.
            recompute: keep no activations of the blocks, but compute them again in the backward pass.
            cls_only: the last block computes only the first position: (n, 1, D).
        """
        streams, mask, image_length = {}, None, 0
        if pixels is not None:
            streams["A"] = self.encoder.place("A", self.vision_embed(pixels))
            image_length = streams["A"].shape[1]
        if token_ids is not None:
            tokens = attention_mask.bool()
            streams["B"] = self.encoder.place("B", self.text_embed(token_ids)) * tokens[..., None]
            mask = F.pad(tokens, (image_length, 0), value=True)[:, None, None]
        x = join(streams)
        for block in self.encoder.layers:
            arguments = (x, image_length, mask, cls_only and block is self.encoder.layers[-1])
            x = checkpoint(block, *arguments, use_reentrant=False) if recompute else block(*arguments)
        return x[:, 0], join(self.encoder.layer_norm(split(x, image_length)))
