"""What each user has interacted with, in any part of the data."""

from collections import Counter

import numpy as np
import torch
from recbole.utils import FeatureType
from torch import Tensor


class Histories:
    """The items of each user, the oldest first where the data have times.

    Args:
        users, items: int64 (n,) internal ids of the interactions, in the order of time.
        n_users: the number of users, padding included.
        times: of the interactions (n,), as a model reads them; None where they are not known.
    """

    def __init__(self, users: Tensor, items: Tensor, n_users: int, times: Tensor | None = None) -> None:
        order = torch.argsort(users, stable=True)
        self.items, self.times = items[order], None if times is None else times[order]
        self.starts = torch.zeros(n_users + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(users, minlength=n_users), 0, out=self.starts[1:])

    @classmethod
    def of_parts(cls, starts: Tensor, items: Tensor, times: Tensor | None = None) -> "Histories":
        """Those whose attributes these are: user u has ``items[starts[u] : starts[u + 1]]``."""
        made = cls.__new__(cls)
        made.starts, made.items, made.times = starts, items, times
        return made

    @classmethod
    def of_dataset(cls, dataset) -> "Histories":
        """Those of a RecBole data set, whether its parts have been built or not, by the exact times where it has kept them (see
        ``TimeOrder``)."""
        if getattr(dataset, "in_order", None) is not None:
            users, items, times = dataset.in_order
            return cls(users, items, dataset.user_num, times)
        if _has_lists(dataset):
            return cls(*_of_lists(dataset), dataset.user_num)
        rows, fields = dataset.inter_feat, (dataset.uid_field, dataset.iid_field)
        users, items = (torch.as_tensor(np.asarray(rows[field])).long() for field in fields)
        if dataset.time_field not in rows:
            return cls(users, items, dataset.user_num)
        times = torch.as_tensor(np.asarray(rows[dataset.time_field]))
        order = torch.argsort(times, stable=True)
        return cls(users[order], items[order], dataset.user_num, times[order].float())

    def __getitem__(self, user: int) -> Tensor:
        return self.items[self.starts[user] : self.starts[user + 1]]

    def times_of(self, users: Tensor) -> list[Tensor] | None:
        """The times of each of some users' items; None where they are not known."""
        if self.times is None:
            return None
        return [self.times[self.starts[user] : self.starts[user + 1]] for user in users.tolist()]

    def of(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """All (place, item) pairs of several users: the user's place among ``users``, and an item that the user has. int64 (m,) each."""
        if len(users) == 1:
            own = self[int(users)]
            return torch.zeros_like(own), own
        counts = self.starts[users + 1] - self.starts[users]
        places = torch.repeat_interleave(torch.arange(len(users)), counts)
        within = torch.arange(len(places)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        return places, self.items[self.starts[users][places] + within]


def _has_lists(dataset) -> bool:
    """Whether the rows of a data set for sequential models hold what came before in a list."""
    lists = getattr(dataset, f"{dataset.iid_field}_list_field", None)
    return lists is not None and lists in dataset.inter_feat and dataset.field2type.get(lists) == FeatureType.TOKEN_SEQ


def _of_lists(dataset) -> tuple[Tensor, Tensor]:
    """The users and items, each user's in order, of a data set whose rows hold lists: the longest list of a user, and the item after it,
    are the end. What other rows have beyond that, because lists are cut, comes before, in the order of their lengths."""
    rows, lists = dataset.inter_feat, dataset.inter_feat[getattr(dataset, f"{dataset.iid_field}_list_field")]
    users, items, lengths = (np.asarray(rows[f]) for f in (dataset.uid_field, dataset.iid_field, dataset.item_list_length_field))
    order = np.lexsort((lengths, users))
    ends = np.flatnonzero(np.diff(users[order], append=-1)) + 1
    found_users, found = [], []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        first, last = order[start], order[end - 1]
        latest = [*lists[last][: lengths[last]].tolist(), items[last]]
        known, earlier = Counter(latest), []
        for item in [*lists[first][: lengths[first]].tolist(), *items[order[start:end]].tolist()]:
            known[item] -= 1
            earlier += [item] if known[item] < 0 else []
        found_users.append(np.full(len(earlier) + len(latest), users[last]))
        found += [*earlier, *latest]
    return torch.from_numpy(np.concatenate(found_users)).long(), torch.tensor(found, dtype=torch.int64)
