"""The last block of open_clip's transformers, for only the position that the tower pools."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, Transformer, VisionTransformer
from torch import Tensor, nn

from recbole_mm.encoder.one_query import Keys, attend_once

TEXT_POOLS = ("argmax", "eos", "first", "last")


class PooledBlock(ResidualAttentionBlock):
    """open_clip's block. While ``position``, int64 (n,), is set, its output is computed only at that position of each item and repeated at
    all positions."""

    position: Tensor | None = None

    def forward(self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Tensor | None = None) -> Tensor:
        """(n, L, d) -> the same shape."""
        if self.position is None:
            return super().forward(q_x, k_x, v_x, attn_mask)
        items, attention = torch.arange(len(q_x), device=q_x.device), self.attn
        position = self.position.expand(len(q_x))
        x, tokens = q_x[items, position], self.ln_1(q_x)
        query, key, value = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
        q = F.linear(tokens[items, position], *query).unflatten(-1, (attention.num_heads, -1))
        mask = None if attn_mask is None else attn_mask[position].unsqueeze(1).to(q.dtype)
        x = x + self.ls_1(attention.out_proj(attend_once(q, [Keys(tokens, *key, *value)], mask).flatten(1)))
        return (x + self.ls_2(self.mlp(self.ln_2(x)))).unsqueeze(1).expand(-1, q_x.shape[1], -1)


def prepare(tower: nn.Module) -> None:
    """Turns the last block of an image or text tower into a ``PooledBlock``, unless the tower pools several positions."""
    if isinstance(tower, VisionTransformer):
        one = tower.attn_pool is None and tower.pool_type == "tok" and not tower.output_tokens
    elif isinstance(tower, TextTransformer):
        one = tower.pool_type in TEXT_POOLS and tower.cls_emb is None and not (tower.use_pad_mask or tower.output_tokens)
    else:
        one = type(tower) is CLIP and tower.text_pool_type in TEXT_POOLS and (tower.attn_mask is None or tower.attn_mask.dim() == 2)
    if one and tower.transformer.batch_first and type(tower.transformer.resblocks[-1]) is ResidualAttentionBlock:
        tower.transformer.resblocks[-1].__class__ = PooledBlock


@contextmanager
def only_pooled(tower: nn.Module, token_ids: Tensor | None = None) -> Iterator[None]:
    """Inside the block, a tower's last transformer block computes only the position that the tower pools: a picture's class token, a
    text's position that follows from ``token_ids`` (n, L). Not with gradient checkpointing, whose second forward pass comes later."""
    position = pooled_position(tower, token_ids)
    if position is None or tower.transformer.grad_checkpointing:
        yield
        return
    block = tower.transformer.resblocks[-1]
    block.position = position
    try:
        yield
    finally:
        block.position = None


def pooled_position(tower: nn.Module, token_ids: Tensor | None = None) -> Tensor | None:
    """The position that a tower pools if its last block is a ``PooledBlock``: int64 (n,), or (1,) for all items; None for other towers."""
    if not (isinstance(getattr(tower, "transformer", None), Transformer) and isinstance(tower.transformer.resblocks[-1], PooledBlock)):
        return None
    if token_ids is None:
        return torch.zeros(1, dtype=torch.int64, device=tower.class_embedding.device)
    own = isinstance(tower, TextTransformer)
    pool, eos_id = (tower.pool_type, tower.eos_id) if own else (tower.text_pool_type, tower.text_eos_id)
    if pool in ("first", "last"):
        return token_ids.new_full((1,), 0 if pool == "first" else token_ids.shape[1] - 1)
    return token_ids.argmax(-1) if pool == "argmax" else (token_ids == eos_id).int().argmax(-1)
