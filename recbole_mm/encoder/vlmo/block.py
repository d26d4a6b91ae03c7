"""VLMo's block: attention that the modalities share, and an expert for each modality (arXiv 2111.02358, section 3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.encoder.one_query import Keys, are_plain_linear, attend_once, padding_bias
from recbole_mm.encoder.vlmo.attention import biased_attention
from recbole_mm.encoder.vlmo.config import VLMoConfig

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention; queries and values have a bias, keys have none."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None, padding: Tensor | None) -> Tensor:
        """x (n, L, dim), bias (heads, L, L), padding bool (n, L) -> (n, L, dim)."""
        qkv = self.qkv(x) + torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        return self.proj(biased_attention(qkv.unflatten(-1, (3, self.num_heads, -1)), bias, padding).flatten(2))

    def first(self, x: Tensor, bias: Tensor | None, padding: Tensor | None) -> Tensor:
        """What ``forward`` gives at the first position: (n, 1, dim)."""
        query, key, value = self.qkv.weight.chunk(3)
        q = F.linear(x[:, 0], query, self.q_bias).unflatten(-1, (self.num_heads, -1))
        added = [part for part in (None if bias is None else bias[:, 0], padding_bias(padding, x.dtype)) if part is not None]
        mixed = attend_once(q, [Keys(x, key, None, value, self.v_bias)], sum(added) if added else None)
        return self.proj(mixed.flatten(1)).unsqueeze(1)


class Expert(nn.Module):
    """A modality's feed-forward network."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """x + gamma_1 * attention(norm1 x), then x + gamma_2 * expert(norm2 x); each expert has a norm of its own before it.

    ``has_vl``: the block has a vision-language expert besides those of texts and pictures.
    """

    def __init__(self, config: VLMoConfig, has_vl: bool):
        super().__init__()
        dim = config.embed_dim
        for name in ("gamma_1", "gamma_2"):
            gamma = nn.Parameter(torch.full((dim,), config.layer_scale_init)) if config.layer_scale else None
            self.register_parameter(name, gamma)
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, config.num_heads)
        self.experts = ("text", "imag", "vl") if has_vl else ("text", "imag")
        for expert in self.experts:
            setattr(self, f"norm2_{expert}", nn.LayerNorm(dim, eps=NORM_EPS))
            setattr(self, f"mlp_{expert}", Expert(dim, int(config.mlp_ratio * dim)))

    def forward(self, x: Tensor, mode: str, text_len: int, bias: Tensor | None, padding: Tensor | None, first: bool = False) -> Tensor:
        """
        Args:
            x: (n, L, dim).
            mode: which expert reads the tokens: "text", "imag" or "vl". In blocks without a vision-language expert, "vl" means
                "text" for the first ``text_len`` tokens and "imag" for the others.
            bias, padding: see ``biased_attention``.
            first: compute only the first token: (n, 1, dim).
        """
        if first and not are_plain_linear(self.attn.qkv):
            return self(x, mode, text_len, bias, padding)[:, :1]
        attention = self.attn.first if first else self.attn
        update = attention(self.norm1(x), bias, padding)
        x = (x[:, :1] if first else x) + _scaled(self.gamma_1, update)
        if mode in self.experts:
            return x + self._refine(mode, x)
        return x + torch.cat((self._refine("text", x[:, :text_len]), self._refine("imag", x[:, text_len:])), 1)

    def _refine(self, expert: str, x: Tensor) -> Tensor:
        return _scaled(self.gamma_2, getattr(self, f"mlp_{expert}")(getattr(self, f"norm2_{expert}")(x)))


def _scaled(gamma: Tensor | None, x: Tensor) -> Tensor:
    return x if gamma is None else gamma * x
