"""Attention for a single position: a row needs no other position of an encoder's last block."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Keys(NamedTuple):
    """Positions that are attended to, (n, L, d), and the linear maps, (d_out, d) and (d_out,), that turn them into keys and values."""

    tokens: Tensor
    key_weight: Tensor
    key_bias: Tensor | None
    value_weight: Tensor
    value_bias: Tensor | None


def attend_once(query: Tensor, parts: Sequence[Keys], bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d_head) + bias) v for one query per item, without computing any key or value.

    q . (W_k x) = (W_k^T q) . x, and sum_l p_l (W_v x_l) = W_v sum_l p_l x_l: the maps are applied to one vector per head and item
    instead of to every position, which costs heads / d_head as much. The result equals that of the usual order up to rounding.

    Args:
        query: (n, heads, d_head).
        parts: the positions in order; the positions of each modality may have maps of their own.
        bias: added to the logits, broadcastable to (n, heads, L); -inf hides a position.

    Returns:
        (n, heads, d_head).
    """
    heads, size = query.shape[1:]
    query = query * size**-0.5
    logits = []
    for part in parts:
        folded = torch.einsum("nhe,hed->nhd", query, part.key_weight.unflatten(0, (heads, size)))
        logits.append(folded @ part.tokens.mT)
        if part.key_bias is not None:
            logits[-1] = logits[-1] + (query * part.key_bias.view(heads, size)).sum(-1, keepdim=True)
    logits = logits[0] if len(logits) == 1 else torch.cat(logits, -1)
    weights = torch.softmax(logits if bias is None else logits + bias, -1).to(query.dtype)
    out = 0
    for part, share in zip(parts, weights.split([part.tokens.shape[1] for part in parts], -1), strict=True):
        mixed = torch.einsum("nhd,hed->nhe", share @ part.tokens, part.value_weight.unflatten(0, (heads, size)))
        out = out + mixed if part.value_bias is None else out + mixed + share.sum(-1, keepdim=True) * part.value_bias.view(heads, size)
    return out


def are_plain_linear(*maps: nn.Module) -> bool:
    """Do their weights alone decide what these maps compute, so that they need not be called? Maps with low-rank updates do more."""
    return all(type(each) is nn.Linear for each in maps)


def padding_bias(padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """bool (n, L), True where a position is padding -> (n, 1, L), to be added to logits."""
    return None if padding is None else torch.zeros_like(padding, dtype=dtype).masked_fill_(padding, -torch.inf).unsqueeze(1)
