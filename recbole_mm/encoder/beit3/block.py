"""The block of BEiT-3: attention over the positions of both modalities; everything around it has one expert per modality."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.encoder.beit3.config import BEiT3Config
from recbole_mm.encoder.one_query import Keys, are_plain_linear, attend_once

Streams = dict[str, Tensor]
"""The positions of each modality that is present, (n, length, width): "A" of a picture, "B" of a text, in this order."""


class Experts(nn.ModuleDict):
    """Two modules of the same kind: A reads the positions of pictures, B those of texts."""

    def __init__(self, make: Callable[[], nn.Module]):
        super().__init__({"A": make(), "B": make()})

    def forward(self, streams: Streams) -> Streams:
        return {modality: self[modality](x) for modality, x in streams.items()}


def split(x: Tensor, image_length: int) -> Streams:
    """(n, L, D), whose first ``image_length`` positions belong to a picture -> its streams."""
    parts = {"A": x[:, :image_length], "B": x[:, image_length:]}
    return {modality: part for modality, part in parts.items() if part.shape[1]}


def join(streams: Streams) -> Tensor:
    """The inverse of ``split``."""
    parts = list(streams.values())
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class Attention(nn.Module):
    """Multi-head self-attention over all positions, with a layer norm before the output projection (sub-LN, arXiv 2210.06423)."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        dim = config.embed_dim
        self.num_heads = config.num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (Experts(lambda: nn.Linear(dim, dim)) for _ in range(4))
        self.inner_attn_ln = Experts(lambda: nn.LayerNorm(dim, eps=config.layer_norm_eps))

    def forward(self, streams: Streams, mask: Tensor | None) -> Streams:
        """``mask``: bool (n, 1, 1, L), False for positions that are not attended to; None where there are none."""
        q, k, v = (join(proj(streams)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                   for proj in (self.q_proj, self.k_proj, self.v_proj))  # fmt: skip
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        return self.out_proj(self.inner_attn_ln(split(mixed, streams["A"].shape[1] if "A" in streams else 0)))

    def first(self, streams: Streams, mask: Tensor | None) -> Streams:
        """What ``forward`` gives at the first position, (n, 1, D), under the modality of that position."""
        modality, x = next(iter(streams.items()))
        q = self.q_proj[modality](x[:, 0]).unflatten(-1, (self.num_heads, -1))
        keys = [Keys(x, k.weight, k.bias, v.weight, v.bias) for m, x in streams.items() for k, v in [(self.k_proj[m], self.v_proj[m])]]
        hidden = None if mask is None else torch.zeros_like(mask[:, 0], dtype=q.dtype).masked_fill_(~mask[:, 0], -torch.inf)
        mixed = attend_once(q, keys, hidden).flatten(1).unsqueeze(1)
        return {modality: self.out_proj[modality](self.inner_attn_ln[modality](mixed))}


class FeedForward(nn.Module):
    """Two linear maps around a GELU, with a layer norm before the second (sub-LN, arXiv 2210.06423)."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        self.fc1 = nn.Linear(config.embed_dim, config.ffn_dim)
        self.ffn_layernorm = nn.LayerNorm(config.ffn_dim, eps=config.layer_norm_eps)
        self.fc2 = nn.Linear(config.ffn_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.ffn_layernorm(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """Attention, then the feed-forward experts, each with a layer norm before it and a residual around it."""

    def __init__(self, config: BEiT3Config):
        super().__init__()
        self.self_attn = Attention(config)
        self.self_attn_layer_norm = Experts(lambda: nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps))
        self.ffn = Experts(lambda: FeedForward(config))
        self.final_layer_norm = Experts(lambda: nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps))

    def forward(self, x: Tensor, image_length: int, mask: Tensor | None = None, first: bool = False) -> Tensor:
        """(n, L, D) -> the same shape.

        Args:
            image_length: how many of the L positions, counted from the first, belong to a picture; the others belong to a text.
            mask: see ``Attention``.
            first: compute only the first position: (n, 1, D).
        """
        attention = self.self_attn
        if first and not are_plain_linear(*attention.k_proj.values(), *attention.v_proj.values()):
            return self(x, image_length, mask)[:, :1]
        streams = split(x, image_length)
        updates = (attention.first if first else attention)(self.self_attn_layer_norm(streams), mask)
        streams = _add({modality: streams[modality][:, :1] if first else streams[modality] for modality in updates}, updates)
        return join(_add(streams, self.ffn(self.final_layer_norm(streams))))


def _add(streams: Streams, updates: Streams) -> Streams:
    return {modality: x + updates[modality] for modality, x in streams.items()}
