"""What comes before and after VLMo's blocks, under the released names."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.encoder.vlmo.block import NORM_EPS, Block
from recbole_mm.encoder.vlmo.config import VLMoConfig

TEXT_NORM_EPS = 1e-12


class Transformer(nn.Module):
    """The picture's embedding, the blocks and the final norm."""

    def __init__(self, config: VLMoConfig):
        super().__init__()
        dim = config.embed_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        absolute = None if config.relative_position_bias else nn.Parameter(torch.zeros(1, config.window**2 + 1, dim))
        self.register_parameter("pos_embed", absolute)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, config.patch_size, config.patch_size)})
        self.blocks = nn.ModuleList(Block(config, has_vl=i >= config.vl_start_layer) for i in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def embed(self, pixels: Tensor) -> Tensor:
        """(n, 3, S, S) in [-1, 1] -> (n, 1 + patches, dim), [CLS] first."""
        projection = self.patch_embed["proj"]
        patches = projection(pixels.to(projection.weight.dtype)).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(patches), -1, -1).to(patches.dtype), patches), 1)
        return x if self.pos_embed is None else x + self.pos_embed


class TextEmbeddings(nn.Module):
    """LayerNorm(word + token type 0 (+ position)); positions only where the attention has no relative bias."""

    def __init__(self, config: VLMoConfig):
        super().__init__()
        dim = config.embed_dim
        self.absolute = not config.relative_position_bias
        self.word_embeddings = nn.Embedding(config.vocab_size, dim)
        self.position_embeddings = nn.Embedding(config.max_text_len, dim)
        self.token_type_embeddings = nn.Embedding(2, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=TEXT_NORM_EPS)
        self.register_buffer("position_ids", torch.arange(config.max_text_len)[None])

    def forward(self, token_ids: Tensor) -> Tensor:
        """int64 (n, L) -> (n, L, dim)."""
        x = self.word_embeddings(token_ids) + self.token_type_embeddings.weight[0]
        if self.absolute:
            x = x + self.position_embeddings.weight[: token_ids.shape[1]]
        return self.LayerNorm(x)


class Pooler(nn.Module):
    """tanh of a linear map."""

    def __init__(self, dim: int):
        super().__init__()
        self.dense = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.dense(x))


class Head(nn.Module):
    """A linear map under the name ``fc``: contrastive projections (no bias) and image-text matching."""

    def __init__(self, dim: int, out: int, bias: bool):
        super().__init__()
        self.fc = nn.Linear(dim, out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class MaskedWordHead(nn.Module):
    """BERT's masked language modelling head."""

    def __init__(self, dim: int, vocab_size: int):
        super().__init__()
        self.transform = nn.ModuleDict({"dense": nn.Linear(dim, dim), "LayerNorm": nn.LayerNorm(dim, eps=TEXT_NORM_EPS)})
        self.decoder = nn.Linear(dim, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., vocab_size) logits."""
        return self.decoder(self.transform["LayerNorm"](F.gelu(self.transform["dense"](x)))) + self.bias
