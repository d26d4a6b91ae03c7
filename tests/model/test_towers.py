"""Modality towers against their equations, a row at a time."""

import torch

from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.towers import ModalityTowers
from tests.model.dense import dense_adjacency, normalised

N_USERS, N_ITEMS, WIDTHS, SIZE = 5, 6, {"image": 7, "sound": 3, "text": 4}, 8
PAIRS = [(1, 1), (1, 2), (2, 2), (2, 5), (4, 1), (4, 2), (4, 3)]


def drawn() -> tuple[ModalityTowers, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    return ModalityTowers(WIDTHS, N_USERS, SIZE).double(), {m: torch.randn(N_ITEMS, d, dtype=torch.float64) for m, d in WIDTHS.items()}


def slow_tower(towers: ModalityTowers, place: int, rows: torch.Tensor, n_layers: int) -> torch.Tensor:
    """(n_users + n_items, size)"""
    first, second = (layer for layer in list(towers.maps.values())[place] if isinstance(layer, torch.nn.Linear))
    g = []
    for f in rows:
        hidden = first.weight @ f + first.bias
        g.append(second.weight @ torch.where(hidden > 0, hidden, 0.01 * hidden) + second.bias)
    x = torch.cat([towers.preferences[:, place], torch.stack(g)])
    x = x / x.norm(dim=1, keepdim=True)
    adjacency = normalised(dense_adjacency(PAIRS, N_USERS, N_ITEMS))
    return sum(torch.linalg.matrix_power(adjacency, n) @ x for n in range(n_layers + 1))


def test_every_tower_is_the_sum_of_its_layers():
    towers, features = drawn()
    adjacency = InteractionGraph(*torch.tensor(PAIRS).T, N_USERS, N_ITEMS).adjacency()
    for n_layers in (0, 2):
        users, items = towers(features, adjacency, n_layers)
        assert users.shape == (N_USERS, 3, SIZE) and items.shape == (N_ITEMS, 3, SIZE)
        for place, rows in enumerate(features.values()):
            wanted = slow_tower(towers, place, rows, n_layers)
            torch.testing.assert_close(torch.cat([users, items])[:, place], wanted, rtol=0, atol=1e-7)


def test_gradients_reach_preferences_maps_and_features():
    towers, features = drawn()
    features = {m: rows.requires_grad_() for m, rows in features.items()}
    users, items = towers(features, InteractionGraph(*torch.tensor(PAIRS).T, N_USERS, N_ITEMS).adjacency(), 1)
    (torch.randn_like(users) * users).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in (*towers.parameters(), *features.values()))


def test_preferences_start_from_xaviers_normal_distribution_each():
    torch.manual_seed(0)
    spread = ModalityTowers({"image": 2, "text": 2}, 5000, 64).preferences.std(dim=(0, 2))
    torch.testing.assert_close(spread, torch.full((2,), (2 / 5064) ** 0.5), rtol=0.01, atol=0)
