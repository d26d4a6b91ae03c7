"""Retrieval, which says how well an encoder fits a catalogue: of pictures and texts by each other, and of items by their categories."""

import torch
import torch.nn.functional as F
from torch import Tensor

KS = (1, 10)
NEAREST = 10
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


def category_precision(rows: Tensor, labels: Tensor, queries: Tensor) -> float | None:
    """How many of an item's ten nearest neighbours by cosine, itself left out, are of its category.

    Args:
        rows: (n, d) rows of n items.
        labels: int64 (n,), their categories.
        queries: bool (n,), the items whose neighbours count; those that are alone in their category are left out.

    Returns:
        The mean share, of ten or of as many as the category has; None if there are no queries.
    """
    rows = F.normalize(rows.float(), dim=-1)
    peers = torch.bincount(labels)[labels] - 1 if len(labels) else labels
    asked = (queries & (peers > 0)).nonzero().squeeze(1)
    if not len(asked):
        return None
    shares = []
    for part in asked.split(ROWS_AT_ONCE):
        cosines = (rows[part] @ rows.T).scatter_(1, part[:, None], -torch.inf)
        nearest = cosines.topk(min(NEAREST, len(rows) - 1), 1).indices
        shares.append((labels[nearest] == labels[part, None]).sum(1) / peers[part].clamp(max=NEAREST).double())
    return float(torch.cat(shares).mean())


def score(measured: dict[str, float]) -> float:
    """The mean of all that was measured, which early stopping goes by."""
    return sum(measured.values()) / len(measured)


def before_and_after(before: dict[str, float], after: dict[str, float]) -> str:
    """Both in one line of the log: ``image->text R@1 0.010 -> 0.200, ...``"""
    return ", ".join(f"{name} {before[name]:.3f} -> {after[name]:.3f}" for name in before)


def _ranks(query: Tensor, targets: Tensor, groups: dict[str, Tensor], part: Tensor) -> Tensor:
    """(k,): how many wrong candidates score at least as high as the best right one."""
    scores = query @ targets.T
    right = torch.stack([numbers[part][:, None] == numbers for numbers in groups.values()]).any(0)
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


def _parts(n: int, device: torch.device) -> tuple[Tensor, ...]:
    return torch.arange(n, device=device).split(ROWS_AT_ONCE)
