"""Where is a model good? Its metrics on slices of the users, and of the items, from the table of users that a run leaves behind.

Slices of users are averages over their users, as the whole is. In a slice of items, only the items of the slice count as relevant, and
users who have none of them in the test are left out. Ranks are those among all items: where the test items of a user fall into several
slices, those of the other slices stay in the ranking, and those of validation and training do not. The results ``warm`` and ``cold`` of
an evaluation mask the user's other test items, so they can be slightly higher.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recbole_mm.results.records import metrics_per_user

BY_ACTIVITY = ("few", "some", "many")
BY_POPULARITY = ("tail", "middle", "head")


@dataclass(frozen=True)
class Slice:
    """The values of the users of a slice.

    Attributes:
        by: what the slices are by: ``all``, ``activity``, ``popularity``, ``training``, or a modality such as ``image``.
        name: which one it is, for people: ``few (3-7)``, ``cold``, ``with``, ...
        n_interactions: how many test interactions with the slice's items there are.
        values: a row per user (by token), a column per metric.
    """

    by: str
    name: str
    n_interactions: int
    values: pd.DataFrame


def slices(users: pd.DataFrame, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """The metrics of all slices.

    Args:
        users: ``Record.users()``.
        metrics: names such as ``recall@20``; None for all.

    Returns:
        A row per slice that has users, with the columns ``by``, ``slice``, ``users``, ``interactions``, and the metrics. Of the metrics
        of items' slices there are recall, hit, precision, mrr and ndcg; others are NaN.

    Raises:
        InputError: the table has no such metric.
    """
    rows = [
        {"by": s.by, "slice": s.name, "users": len(s.values), "interactions": s.n_interactions, **s.values.mean()}
        for s in each_slice(users, metrics)
    ]
    return pd.DataFrame(rows)


def each_slice(users: pd.DataFrame, metrics: Sequence[str] | None = None) -> Iterator[Slice]:
    """The slices with the values of their users, for intervals and tests. The arguments are those of ``slices``.

    By activity: three groups of users by their training interactions. By popularity: three groups of test interactions by the item's
    interactions in training; ``head`` is the third with the most popular items. Groups are as equal as ties allow, because what is equally
    active or popular stays together. By training: ``cold`` items have no interaction there, ``warm`` ones have. By each modality: items
    ``with`` it and ``without`` it.
    """
    metrics = metrics_per_user(users, metrics)
    whole, n_items = users.set_index("user")[metrics], users["items"].map(len).to_numpy()
    yield Slice("all", "all", int(n_items.sum()), whole)
    for name, chosen in _thirds(users["n_training"].to_numpy(), BY_ACTIVITY):
        yield Slice("activity", name, int(n_items[chosen].sum()), whole[chosen])
    found = _TestItems(users, n_items)
    counts = found.column("counts")
    yield from found.slices("popularity", _thirds(counts, BY_POPULARITY), metrics)
    yield from found.slices("training", [("warm", counts > 0), ("cold", counts == 0)], metrics)
    for column in (name for name in users if name.startswith("has_")):
        has = found.column(column).astype(bool)
        yield from found.slices(column.removeprefix("has_"), [("with", has), ("without", ~has)], metrics)


class _TestItems:
    """The users' test interactions, one after the other. A user has one ranking, or, of a sequential model, one per interaction."""

    def __init__(self, users: pd.DataFrame, n_items: np.ndarray) -> None:
        self.users, self.user = users, np.repeat(np.arange(len(users)), n_items)
        one = (users["rankings"] == 1).to_numpy()[self.user]
        self.ranking = np.where(one, self.user, len(users) + np.arange(len(self.user)))
        self.ranks = self.column("ranks")

    def column(self, name: str) -> np.ndarray:
        return np.concatenate([np.asarray(values) for values in self.users[name]])

    def slices(self, by: str, chosen: Sequence[tuple[str, np.ndarray]], metrics: Sequence[str]) -> Iterator[Slice]:
        for name, here in chosen:
            if here.any():
                yield Slice(by, name, int(here.sum()), self._values(here, metrics))

    def _values(self, here: np.ndarray, metrics: Sequence[str]) -> pd.DataFrame:
        """The metrics per user where only the items that are ``here`` are relevant."""
        _, first, ranking = np.unique(self.ranking[here], return_index=True, return_inverse=True)
        ranks, n_relevant = self.ranks[here], np.bincount(ranking)
        found = pd.DataFrame({"user": self.users["user"].to_numpy()[self.user[here][first]]})
        for metric in metrics:
            name, _, k = metric.partition("@")
            hit = (ranks > 0) & (ranks <= int(k))
            found[metric] = _value(name, int(k), n_relevant, ranking[hit], ranks[hit])
        return found.groupby("user", sort=False).mean()


def _value(name: str, k: int, n_relevant: np.ndarray, ranking: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """A metric of each ranking (n,).

    Args:
        n_relevant: how many relevant items each ranking has, (n,).
        ranking, ranks: of the hits, (h,).
    """
    n = len(n_relevant)
    hits = np.bincount(ranking, minlength=n)
    if name == "recall":
        return hits / n_relevant
    if name == "hit":
        return (hits > 0).astype(float)
    if name == "precision":
        return hits / k
    if name == "mrr":
        best = np.full(n, np.inf)
        np.minimum.at(best, ranking, ranks)
        return 1 / best
    if name == "ndcg":
        ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
        return np.bincount(ranking, 1 / np.log2(ranks + 1), minlength=n) / ideal[np.minimum(n_relevant, k)]
    return np.full(n, np.nan)


def _thirds(values: np.ndarray, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Three groups of about the same size, in ascending order, which keep equal values together; empty ones are left out."""
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    groups = [values <= low, (low < values) & (values <= high), values > high]
    return [(f"{name} ({_range(values[group])})", group) for name, group in zip(names, groups, strict=True) if group.any()]


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return str(low) if low == high else f"{low}-{high}"
