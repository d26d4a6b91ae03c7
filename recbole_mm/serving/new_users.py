"""Vectors of users that a model was not trained with, from the items that they have."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_mm.serving.histories import Histories


class UserMap:
    """A linear map from the mean of a user's item vectors to the user's vector, fitted by ridge regression on known users.

    Args:
        weights: (d + 1, d), the last row for a constant 1.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    @classmethod
    def fitted(cls, users: Tensor, items: Tensor, histories: Histories, ridge: float = 1e-2) -> "UserMap":
        """Fits it on all users (n_users, d) who have some of the items (n_items, d). ``ridge`` is relative to the mean variance of the
        inputs."""
        known = torch.unique(histories.of(torch.arange(len(users)))[0])
        inputs = _mean_items(histories, known, items).double()
        gram = inputs.T @ inputs
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
        return cls(torch.linalg.solve(gram, inputs.T @ users[known].double()).float())

    def __call__(self, histories: Sequence[Tensor], items: Tensor) -> Tensor:
        """Vectors (n, d) of users who have these rows of ``items`` (m, d)."""
        lengths = torch.tensor([len(history) for history in histories])
        users = torch.repeat_interleave(torch.arange(len(histories)), lengths)
        own = Histories(users, torch.cat(list(histories)), len(histories))
        return _mean_items(own, torch.arange(len(histories)), items) @ self.weights


def _mean_items(histories: Histories, users: Tensor, items: Tensor) -> Tensor:
    """The mean vector of each user's items, and a 1: (n_users, d + 1)."""
    places, own = histories.of(users)
    sums = torch.zeros(len(users), items.shape[1]).index_add_(0, places, items[own])
    means = sums / torch.bincount(places, minlength=len(users)).clamp_min(1).unsqueeze(1)
    return torch.cat([means, torch.ones(len(users), 1)], 1)
