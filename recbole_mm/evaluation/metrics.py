"""RecBole's metrics of rankings, over all rows (users, or sequences) at once and on the device where the rankings are.

They take what RecBole's collector gives: ``rec.topk``, (n, k + 1), which of the k first items are relevant and how many items are; and
``rec.items``, (n, k), the k first items.
"""

from collections.abc import Callable, Mapping
from logging import getLogger

import torch
from torch import Tensor


def hit(hits: Tensor, n_relevant: Tensor) -> Tensor:
    return (hits.cumsum(1) > 0).double()


def precision(hits: Tensor, n_relevant: Tensor) -> Tensor:
    return hits.cumsum(1) / _ranks(hits)


def recall(hits: Tensor, n_relevant: Tensor) -> Tensor:
    return hits.cumsum(1) / n_relevant.unsqueeze(1)


def mrr(hits: Tensor, n_relevant: Tensor) -> Tensor:
    return (hits / _ranks(hits)).cummax(1).values


def average_precision(hits: Tensor, n_relevant: Tensor) -> Tensor:
    return (precision(hits, n_relevant) * hits).cumsum(1) / torch.minimum(_ranks(hits), n_relevant.clamp(min=1).unsqueeze(1))


def ndcg(hits: Tensor, n_relevant: Tensor) -> Tensor:
    gains = 1 / torch.log2(_ranks(hits) + 1)
    findable = torch.minimum(_ranks(hits), n_relevant.clamp(min=1).unsqueeze(1)).long()
    return (hits * gains).cumsum(1) / gains.cumsum(0)[findable - 1]


OF_HITS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hit": hit, "precision": precision, "recall": recall, "mrr": mrr, "map": average_precision, "ndcg": ndcg,
}  # fmt: skip
"""(hits of the first k, 0 or 1, float64 (n, k); the number of relevant items, float64 (n,)) -> the metric at 1, 2, ..., k: (n, k)."""


def item_coverage(times: Tensor, n_items: int) -> float:
    """The share of the items that are recommended at all."""
    return len(times) / n_items


def shannon_entropy(times: Tensor, n_items: int) -> float:
    shares = times / times.sum()
    return float(-(shares * shares.log()).sum() / len(times))


def gini_index(times: Tensor, n_items: int) -> float:
    places = torch.arange(n_items - len(times) + 1, n_items + 1, device=times.device)
    return float(((2 * places - n_items - 1) * times.sort().values).sum() / times.sum() / n_items)


OF_COUNTS: Mapping[str, Callable[[Tensor, int], float]] = {
    "itemcoverage": item_coverage, "shannonentropy": shannon_entropy, "giniindex": gini_index,
}  # fmt: skip
"""(how often each item that is recommended is, float64 (m,); the number of all items) -> the metric."""


def popularity(counts: Mapping[int, int], n_items: int, tail: float | None) -> Tensor:
    """What AveragePopularity gives an item: its training interactions, (n_items,)."""
    values = torch.zeros(n_items, dtype=torch.float64)
    values[torch.tensor(list(counts), dtype=torch.int64)] = torch.tensor(list(counts.values()), dtype=torch.float64)
    return values


def in_tail(counts: Mapping[int, int], n_items: int, tail: float | None) -> Tensor:
    """What TailPercentage gives an item: 1 in the long tail, (n_items,).

    Args:
        tail: at most how many interactions an item of the tail has, if it is above 1; or which share of the items with interactions is the
            tail; 0.1 if it is None or not above 0.
    """
    tail = 0.1 if tail is None or tail <= 0 else tail
    rarest = sorted(counts, key=lambda item: (counts[item], item))
    chosen = [item for item in rarest if counts[item] <= tail] if tail > 1 else rarest[: max(int(len(rarest) * tail), 1)]
    values = torch.zeros(n_items, dtype=torch.float64)
    values[torch.tensor(chosen, dtype=torch.int64)] = 1
    return values


OF_ITEMS: Mapping[str, Callable[[Mapping[int, int], int, float | None], Tensor]] = {
    "averagepopularity": popularity, "tailpercentage": in_tail,
}  # fmt: skip
"""(item -> its training interactions, the number of items, ``tail_ratio``) -> a value per item, whose means over the first k are the
metric."""


def gauc(sums: Tensor) -> float:
    """The mean area under the ROC curve of the rows, weighted by their relevant items.

    Args:
        sums: ``rec.meanrank``, (n, 3): the sum of the ranks of the relevant items, the number of candidates, that of relevant items.
    """
    rank_sums, candidates, relevant = sums.double().unbind(1)
    others = candidates - relevant
    for without, what in ((relevant == 0, "relevant items"), (others == 0, "items that are not relevant")):
        if without.any():
            getLogger().warning(f"GAUC leaves out {int(without.sum())} of {len(sums)} users, who have no {what}")
    pairs = (candidates + 1) * relevant - relevant * (relevant + 1) / 2 - rank_sums
    kept = (relevant != 0) & (others != 0)
    return float((pairs[kept] / others[kept]).sum() / relevant[kept].sum())


def _ranks(hits: Tensor) -> Tensor:
    return torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
