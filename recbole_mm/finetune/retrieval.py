"""Image-text retrieval, which says how well an encoder fits a catalogue."""

import torch
import torch.nn.functional as F
from torch import Tensor

KS = (1, 10)
ROWS_AT_ONCE = 1024


def retrieval(image: Tensor, text: Tensor, groups: dict[str, Tensor]) -> dict[str, float]:
    """Recall of image-to-text and text-to-image retrieval, by cosine, among n pairs.

    Args:
        image, text: (n, d) rows of the same pairs.
        groups: ``{"image": (n,), "text": (n,)}``: pairs that share a number are right answers to each other.

    Returns:
        ``{"image->text R@1": share, ...}`` for each direction and k: the share of the pairs for which fewer than k wrong candidates
        score at least as high as the best right one. (Rows that are all alike therefore retrieve nothing.)
    """
    rows = {"image": F.normalize(image.float(), dim=-1), "text": F.normalize(text.float(), dim=-1)}
    found = {}
    for query, target in (("image", "text"), ("text", "image")):
        ranks = torch.cat([_ranks(rows[query][part], rows[target], groups, part) for part in _parts(len(image), image.device)])
        found |= {f"{query}->{target} R@{k}": float((ranks < k).float().mean()) for k in KS}
    return found


def score(recalls: dict[str, float]) -> float:
    """The mean of all recalls, which early stopping goes by."""
    return sum(recalls.values()) / len(recalls)


def before_and_after(before: dict[str, float], after: dict[str, float]) -> str:
    """Both recalls in one line of the log: ``image->text R@1 0.010 -> 0.200, ...``"""
    return ", ".join(f"{name} {before[name]:.3f} -> {after[name]:.3f}" for name in before)


def _ranks(query: Tensor, targets: Tensor, groups: dict[str, Tensor], part: Tensor) -> Tensor:
    """(k,): how many wrong candidates score at least as high as the best right one."""
    scores = query @ targets.T
    right = torch.stack([numbers[part][:, None] == numbers for numbers in groups.values()]).any(0)
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


def _parts(n: int, device: torch.device) -> tuple[Tensor, ...]:
    return torch.arange(n, device=device).split(ROWS_AT_ONCE)
