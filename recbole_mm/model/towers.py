"""ModalityTowers: what DualGNN, DRAGON, MENTOR and COHESION share, a graph convolution of its own for each modality."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.model.graph import propagate
from recbole_mm.model.loss import mean_square
from recbole_mm.model.sparse import SparseMatrix

HIDDEN_SIZE = 256


class ModalityTowers(nn.Module):
    """The towers T_m over users and then items, of MMGCN's kind but without weights in the layers:

    g_m = W2 leaky_relu(W1 f_m + b1) + b2 of an item's features f_m, 256 wide between the two maps
    X_m = [P_m ; g_m], every row divided by its length; P_m the users' preferences, trained
    T_m = X_m + A X_m + ... + A^n_layers X_m

    The modalities lie side by side in one tensor, so that a layer is one sparse product for all of them.

    Args:
        dims: the width of each modality's features.
        n_users: with the padding user.
        size: of a tower's rows.

    Attributes:
        preferences: P_m of all modalities, (n_users, M, size).
    """

    def __init__(self, dims: Mapping[str, int], n_users: int, size: int) -> None:
        super().__init__()
        maps = {m: (nn.Linear(width, HIDDEN_SIZE), nn.LeakyReLU(), nn.Linear(HIDDEN_SIZE, size)) for m, width in dims.items()}
        self.maps = nn.ModuleDict({m: nn.Sequential(*layers) for m, layers in maps.items()})
        self.preferences = nn.Parameter(torch.stack([nn.init.xavier_normal_(torch.empty(n_users, size)) for _ in dims], dim=1))

    def forward(self, features: Mapping[str, Tensor], adjacency: SparseMatrix, n_layers: int) -> tuple[Tensor, Tensor]:
        """The towers' rows of users (n_users, M, size) and items (n_items, M, size).

        Args:
            features: f_m of all items, {m: (n_items, width)}.
            adjacency: A, over the users and then the items.
        """
        first = self.first_layer(self.project(features))
        rows = propagate(adjacency, first.flatten(1), n_layers, "sum").view_as(first)
        return rows[: len(self.preferences)], rows[len(self.preferences) :]

    def project(self, features: Mapping[str, Tensor]) -> Tensor:
        """g_m of each modality, (n, M, size), from features {m: (n, width)}."""
        return torch.stack([self.maps[m](rows) for m, rows in features.items()], dim=1)

    def penalty(self, users: Tensor) -> Tensor:
        """The mean square of the preferences P_m of a batch's users (n,), summed over the modalities."""
        return mean_square(*self.preferences[users].unbind(1))

    def first_layer(self, items: Tensor) -> Tensor:
        """X_m of each modality, (n_users + n_items, M, size), from items' rows (n_items, M, size)."""
        return functional.normalize(torch.cat([self.preferences, items]), dim=-1)


def modality_weights(n_users: int, n_modalities: int) -> nn.Parameter:
    """What each modality means to each user, (n_users, n_modalities): a softmax over small noise, so about equal, to be trained freely."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(n_users, n_modalities)).softmax(-1))
