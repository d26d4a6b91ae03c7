"""UserPositives: which items each user has interacted with in training."""

import numpy as np
import torch
from torch import Tensor, nn


class UserPositives(nn.Module):
    """The distinct items that each user has interacted with in training.

    Args:
        users, items: internal ids of the interactions, (N,) each.
        n_items: the number of internal item ids.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        codes = np.unique(users.astype(np.int64) * n_items + items.astype(np.int64))
        starts = np.searchsorted(codes, np.arange(users.max(initial=0) + 3) * n_items)
        self.register_buffer("items", torch.from_numpy(codes % n_items), persistent=False)
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)

    def among(self, users: Tensor, items: Tensor) -> Tensor:
        """bool (n_users, n_candidates): has that user (n_users,) interacted with that item (n_candidates,)? The items are distinct. Takes
        as many steps as the users have interactions."""
        users = users.clamp(max=len(self.starts) - 2)
        first, counts = self.starts[users], self.starts[users + 1] - self.starts[users]
        rows = torch.arange(len(users), device=users.device).repeat_interleave(counts)
        within = torch.arange(len(rows), device=users.device) - (counts.cumsum(0) - counts)[rows]
        column = torch.full((self.n_items,), len(items), device=users.device)
        column[items] = torch.arange(len(items), device=users.device)
        found = torch.zeros(len(users), len(items) + 1, dtype=torch.bool, device=users.device)
        found[rows, column[self.items[first[rows] + within]]] = True
        return found[:, :-1]
