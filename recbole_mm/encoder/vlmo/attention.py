"""Attention with a learnt bias on the logits, in torch's fused kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_LOGITS = 1 << 15
"""How many logits are recomputed at a time in the backward pass: few enough to stay in the processor's cache."""


def biased_attention(qkv: Tensor, bias: Tensor | None, padding: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, where keys at ``padding`` get no weight.

    torch's fused kernels are used throughout. Those for CPUs cannot differentiate the bias, and torch would fall back to keeping all
    attention weights; there ``_BiasedAttention`` recomputes them instead.

    Args:
        qkv: queries, keys and values (n, L, 3, heads, d).
        bias: (heads, L, L).
        padding: bool (n, L), True where a key is padding.

    Returns:
        (n, L, heads, d).
    """
    if bias is not None:
        bias = bias.to(qkv.dtype)
        if bias.device.type == "cpu" and bias.requires_grad and torch.is_grad_enabled():
            return _BiasedAttention.apply(qkv, bias, padding)
    return _fused(qkv, bias, padding)


class _BiasedAttention(torch.autograd.Function):
    """The fused forward pass, and a backward pass that recomputes the attention weights, a few items at a time."""

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor, padding: Tensor | None) -> Tensor:
        out = _fused(qkv, bias.detach(), padding)
        ctx.save_for_backward(qkv, bias, padding, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, padding, out = ctx.saved_tensors
        working, heads, scale = torch.promote_types(qkv.dtype, torch.float32), len(bias), qkv.shape[-1] ** -0.5
        grad_qkv, grad_bias = torch.empty_like(qkv), torch.zeros_like(bias, dtype=working)
        step = max(1, min(len(qkv), CHUNK_LOGITS // bias.numel()))
        biases = bias.to(working).repeat(step, 1, 1)
        weights_, grad_logits_ = torch.empty_like(biases), torch.empty_like(biases)
        grads_ = biases.new_empty(3, *biases.shape[:2], qkv.shape[-1])
        with torch.autocast(qkv.device.type, enabled=False):
            shift = (grad_out.to(working) * out.to(working)).sum(-1).neg_().mT.unsqueeze(-1)
            for some in (slice(start, start + step) for start in range(0, len(qkv), step)):
                q, k, v = qkv[some].to(working).permute(2, 0, 3, 1, 4).flatten(1, 2)
                grad_o = grad_out[some].to(working).transpose(1, 2).flatten(0, 1)
                weights, grad_logits, grads = weights_[: len(q)], grad_logits_[: len(q)], grads_[:, : len(q)]
                torch.baddbmm(biases[: len(q)], q, k.mT, alpha=scale, out=weights)
                if padding is not None:
                    weights.unflatten(0, (-1, heads)).masked_fill_(padding[some, None, None], -torch.inf)
                torch.softmax(weights, -1, out=weights)
                torch.baddbmm(shift[some].flatten(0, 1), grad_o, v.mT, out=grad_logits).mul_(weights)
                torch.bmm(grad_logits, k, out=grads[0])
                torch.bmm(grad_logits.mT, q, out=grads[1])
                torch.bmm(weights.mT, grad_o, out=grads[2])
                grads[:2].mul_(scale)
                grad_qkv[some] = grads.unflatten(1, (-1, heads)).permute(1, 3, 0, 2, 4)
                for one in grad_logits.unflatten(0, (-1, heads)):
                    grad_bias += one
        return grad_qkv, grad_bias.to(bias.dtype), None


def _fused(qkv: Tensor, bias: Tensor | None, padding: Tensor | None) -> Tensor:
    mask = None if bias is None else bias[None]  # of four dimensions: with three, torch leaves its fused kernel for CPUs
    if padding is not None:
        hidden = padding[:, None, None]
        mask = ~hidden if mask is None else mask.masked_fill(hidden, -torch.inf)
    return F.scaled_dot_product_attention(*_split(qkv), attn_mask=mask).transpose(1, 2)


def _split(qkv: Tensor) -> tuple[Tensor, ...]:
    """(n, L, 3, heads, d) -> three views (n, heads, L, d)."""
    return qkv.permute(2, 0, 3, 1, 4).unbind(0)
