"""Image-text contrastive losses over the rows of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def image_text_contrastive(
    image: Tensor, text: Tensor, logit_scale: Tensor | float, logit_bias: Tensor | float | None = None, same: Tensor | None = None
) -> Tensor:
    """Symmetric loss that pulls row i of ``image`` to row i of ``text`` and pushes it from every other row.

    Without ``logit_bias``: CLIP's softmax loss, the mean of both directions' cross-entropies (Radford et al. 2021). With it:
    SigLIP's pairwise sigmoid loss, summed over the n x n pairs and divided by n (Zhai et al. 2023).

    Args:
        image, text: (n, d) rows of the same items, in the same order; L2-normalised here.
        logit_scale: the positive factor on the cosines (already exponentiated).
        logit_bias: added to the scaled cosines.
        same: bool (n, n), symmetric: pairs of rows that share their picture or their text, and so are not each other's negatives.

    Returns:
        A scalar in at least float32, whatever the autocast state. With n < 2 there is nothing to contrast: zero, with a graph.

    Raises:
        ValueError: the shapes differ or are not (n, d).
    """
    if image.shape != text.shape or image.dim() != 2:
        raise ValueError(f"image and text rows must both be (n, d), not {tuple(image.shape)} and {tuple(text.shape)}")
    n = image.shape[0]
    with torch.autocast(image.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(image.dtype, text.dtype), torch.float32)
        image, text = image.to(dtype), text.to(dtype)
        if n < 2:
            return (image.sum() + text.sum()) * 0.0
        cosines = F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        logits = cosines * logit_scale
        own = torch.eye(n, dtype=torch.bool, device=logits.device)
        shared = torch.zeros_like(own) if same is None else same & ~own
        if logit_bias is None:
            logits = logits.masked_fill(shared, -torch.inf)
            targets = torch.arange(n, device=logits.device)
            return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
        signs = 2 * own.to(dtype) - 1
        return -F.logsigmoid(signs * (logits + logit_bias)).masked_fill(shared, 0.0).sum() / n


def clamped_exp(log_scale: Tensor, limit: float = 100.0) -> Tensor:
    """``exp(log_scale)``, at most ``limit``: CLIP's temperature rule (Radford et al. 2021, section 2.5).

    At the limit the gradient still passes when it would lower the scale. A plain clamp would freeze OpenAI's released scale
    for good: it is stored as 4.6052, a hair above ln(100).
    """
    return _ClampFromAbove.apply(log_scale.exp(), limit)


class _ClampFromAbove(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.limit = limit
        return value.clamp(max=limit)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        return gradient * ((value <= ctx.limit) | (gradient > 0)), None
