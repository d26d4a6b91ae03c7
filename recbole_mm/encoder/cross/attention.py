"""Cross-attention between the tokens of a picture and of its text."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.config.modalities import PAIR
from recbole_mm.encoder.cross.token_states import Tokens
from recbole_mm.encoder.seeding import seeded


class CrossAttention(nn.Module):
    """Pictures read texts, and texts read pictures, each token for itself; then each side is averaged over its tokens.

    This is the idea of "Cross-stitched Multi-modal Encoders" (Singla et al., arXiv 2204.09227), who join a speech and a text encoder by
    multi-headed attention before pooling. A token x of one side becomes h + MLP(h) with h = x + attention(x, tokens of the other side).

    Deviations: both sides read each other, and tokens are mapped to a small width first.

    Args:
        widths: ``{"image": width of its tokens, "text": ...}``.
        size: the width that both are mapped to.
        seed: draws the weights; the global random state stays as it is.

    Attributes:
        width: of the rows, twice ``size``.
    """

    from_scratch = True

    def __init__(self, widths: Mapping[str, int], size: int, seed: int = 0) -> None:
        super().__init__()
        self.size, self.width = size, 2 * size
        with seeded(seed):
            self.into = nn.ModuleDict({m: nn.Sequential(nn.LayerNorm(widths[m]), nn.Linear(widths[m], size)) for m in PAIR})
            self.blocks = nn.ModuleDict({m: CrossBlock(size) for m in PAIR})

    def forward(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """The tokens of n items in both modalities -> (n, width)."""
        dtype, rows = next(self.parameters()).dtype, []
        mapped = {m: self.into[m](tokens[m].states.to(dtype)) for m in PAIR}
        for own, other in (PAIR, PAIR[::-1]):
            hidden = self.blocks[own](mapped[own], mapped[other], tokens[other].mask)
            here = tokens[own].mask.unsqueeze(2).to(dtype)
            rows.append((hidden * here).sum(1) / here.sum(1))
        return torch.cat(rows, 1)


class CrossBlock(nn.Module):
    """The tokens of one side after they have read those of the other."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in (4, 2, 1) if size % heads == 0)
        self.query, self.key_value, self.out = nn.Linear(size, size), nn.Linear(size, 2 * size), nn.Linear(size, size)
        self.mlp = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, x: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """(n, L, size), which read (n, K, size) where ``mask``, bool (n, K), is True -> (n, L, size)."""
        query, key, value = (self._split(part) for part in (self.query(x), *self.key_value(other).chunk(2, -1)))
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        x = x + self.out(found.transpose(1, 2).flatten(2))
        return x + self.mlp(x)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
