"""Retrieval between pictures and texts, which says how well an encoder knows a catalogue."""

import torch
import torch.nn.functional as F
from torch import Tensor

KS = (1, 10)
ROWS_AT_ONCE = 1024


def retrieval(image: Tensor, text: Tensor, groups: dict[str, Tensor]) -> dict[str, float]:
    """Recall of image-to-text and text-to-image retrieval by cosine among n pairs.

    Args:
        image, text: (n, d) rows of the same pairs.
        groups: ``{"image": (n,), "text": (n,)}``: pairs that share a number are right answers to each other.

    Returns:
        ``{"image->text R@1": share, ...}`` for each direction and k: of the pairs, those where fewer than k wrong candidates score at
        least as high as the best right one (so that rows that are all alike retrieve nothing).
    """
    rows = {"image": F.normalize(image.float(), dim=-1), "text": F.normalize(text.float(), dim=-1)}
    found = {}
    for query, target in (("image", "text"), ("text", "image")):
        ranks = torch.cat([_ranks(rows[query][part], rows[target], groups, part) for part in _parts(len(image), image.device)])
        found |= {f"{query}->{target} R@{k}": float((ranks < k).float().mean()) for k in KS}
    return found


def score(recalls: dict[str, float]) -> float:
    """What early stopping goes by: the mean of all recalls."""
    return sum(recalls.values()) / len(recalls)


def told(before: dict[str, float], after: dict[str, float]) -> str:
    """``image->text R@1 0.010 -> 0.200, ...``"""
    return ", ".join(f"{name} {before[name]:.3f} -> {after[name]:.3f}" for name in before)


def _ranks(query: Tensor, targets: Tensor, groups: dict[str, Tensor], part: Tensor) -> Tensor:
    """(k,): how many wrong candidates come before the best right one."""
    scores = query @ targets.T
    right = torch.stack([numbers[part][:, None] == numbers for numbers in groups.values()]).any(0)
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


def _parts(n: int, device: torch.device) -> tuple[Tensor, ...]:
    return torch.arange(n, device=device).split(ROWS_AT_ONCE)
