"""What each user has interacted with, in any part of the data."""

from collections.abc import Sequence

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
        rows, fields = dataset.inter_feat, (dataset.uid_field, dataset.iid_field)
        users, items = (torch.as_tensor(np.asarray(rows[field])).long() for field in fields)
        times = np.asarray(rows[dataset.time_field]) if dataset.time_field in rows else np.arange(len(users))
        users, items, times = _with_lists(dataset, users, items, times)
        order = torch.from_numpy(np.argsort(times, kind="stable"))
        known = dataset.time_field in rows and np.isfinite(times).all()
        return cls(users[order], items[order], dataset.user_num, torch.from_numpy(times).float()[order] if known else None)

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


def _with_lists(dataset, users: Tensor, items: Tensor, times: np.ndarray) -> tuple[Tensor, Tensor, np.ndarray]:
    """The rows of a data set for sequential models hold what came before in a list. The items of a user's shortest list are rows of their
    own here, before all others."""
    rows, lists = dataset.inter_feat, getattr(dataset, f"{dataset.iid_field}_list_field", None)
    if lists is None or lists not in rows or dataset.field2type.get(lists) != FeatureType.TOKEN_SEQ:
        return users, items, times
    lengths, first = rows[dataset.item_list_length_field].long(), {}
    for place in torch.argsort(lengths, descending=True, stable=True).tolist():
        first[int(users[place])] = place
    before: Sequence[tuple[int, Tensor]] = [(user, rows[lists][place][: lengths[place]]) for user, place in first.items()]
    early_users = torch.cat([torch.full_like(own, user) for user, own in before])
    early_items = torch.cat([own for _, own in before])
    early = np.full(len(early_users), -np.inf)
    return torch.cat([early_users, users]), torch.cat([early_items, items]), np.concatenate([early, times])
