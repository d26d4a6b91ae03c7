"""MENTOR against its equations in dense matrices."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional

from recbole_mm.testing.planted import built
from tests.model.dense import (
    check_scores,
    dense_adjacency,
    dense_knn,
    normalised,
    randomise,
    slow_bpr_and_norm,
    slow_info_nce,
    training_pairs,
    without_gradient,
)

FROZEN = {"encoder_training": "pretrained", "knn_k": 4, "train_batch_size": 20}
QUIET = {"reg_weight": 0.3, "align_weight": 0.7, "mask_weight": 0.5, "noise_weight": 0.2}


def slow_map(layers, rows: np.ndarray) -> np.ndarray:
    first, _, second = layers
    hidden = rows @ first.weight.detach().numpy().T + first.bias.detach().numpy()
    return np.where(hidden > 0, hidden, 0.01 * hidden) @ second.weight.detach().numpy().T + second.bias.detach().numpy()


def lengths_one(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Dense:
    """The model's matrices, and its towers with or without noise."""

    def __init__(self, model, pairs) -> None:
        self.model, self.features = model, model.item_features.table()
        self.adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items)).numpy()
        binary = {m: (dense_knn(x, model.knn_k, ~model.item_features.present(m)) != 0).double() for m, x in self.features.items()}
        graph = sum(model.modality_weights[m] * normalised(binary[m]) for m in self.features)
        self.item_graph = np.linalg.matrix_power(graph.numpy(), model.n_item_layers)

    def tower(self, tower, name: str, place: int, rows: torch.Tensor, noise: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Of users, and of items with their neighbours. ``noise`` has a matrix for every layer."""
        first = np.concatenate([tower.preferences[:, place].detach().numpy(), slow_map(tower.maps[name], rows.detach().numpy())])
        x = total = lengths_one(first)
        for layer in range(self.model.n_layers):
            x = self.adjacency @ x
            if noise is not None:
                x = x + 0.1 * np.sign(x) * lengths_one(noise[layer])
            total = total + x
        users, items = np.split(total, [self.model.n_users])
        return [users, items + self.item_graph @ items]

    def modalities(self, noise: list[torch.Tensor] | None = None) -> list[list[np.ndarray]]:
        of = lambda m: None if noise is None else [layer[:, m].numpy() for layer in noise]  # noqa: E731
        rows = self.model.item_features.centred()
        return [self.tower(self.model.towers, m, k, rows[m], of(k)) for k, m in enumerate(self.features)]

    def fused(self, towers) -> list[np.ndarray]:
        weights = self.model.modality_preference.detach().numpy()
        users = [weights[:, [m]] * users for m, (users, _) in enumerate(towers)]
        return [np.concatenate(users, axis=1), np.concatenate([items for _, items in towers], axis=1)]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("keys", [{}, {"n_layers": 1, "n_item_layers": 2, "modalities": ["text"]}], ids=str)
def test_embeddings_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys):
    """Towers, item graph, alignment, masked features and noise, with the numbers that the model draws."""
    _, model, train, *_ = built(planted_missing if missing else planted, "MENTOR", **FROZEN, **QUIET, **keys)
    randomise(model)
    dense = Dense(model, training_pairs(train))
    towers = dense.modalities()
    final = dense.fused(towers)
    for rows, wanted in zip(model.embed(), final, strict=True):
        np.testing.assert_allclose(rows.detach().numpy(), wanted, rtol=1e-5, atol=1e-6)

    batch = next(iter(train))
    torch.manual_seed(0)
    losses = [loss.item() for loss in model.train().calculate_loss(batch)]
    torch.manual_seed(0)
    chosen = batch["user_id"].unique(), torch.cat([batch["item_id"], batch["neg_item_id"]]).unique()
    masked = 0
    for rows, ids in zip(final, chosen, strict=True):
        rows = torch.from_numpy(rows)[ids]
        predicted = rows @ model.predictor.weight.T + model.predictor.bias
        masked += 1 - functional.cosine_similarity(functional.dropout(rows, 0.5), predicted).mean().item()
    shape = (model.n_users + model.n_items, len(towers), 64)
    copies = [dense.fused(dense.modalities([torch.rand(shape, dtype=torch.float64) for _ in range(model.n_layers)])) for _ in range(2)]
    noise = sum(slow_info_nce(copies[0][side], copies[1][side], ids.tolist(), 0.2) for side, ids in enumerate(chosen))
    views = [final, dense.tower(model.id_tower, "id", 0, model.item_embedding.weight), *towers]
    numbers = [np.concatenate([rows.ravel() for rows in view]) for view in views]
    align = sum(abs(a.mean() - b.mean()) + abs(a.var() - b.var()) for a, b in combinations(numbers, 2))
    users = model.towers.preferences[batch["user_id"]]
    penalty = sum((users[:, m] ** 2).mean() for m in range(len(towers))) + (model.modality_preference**2).mean()
    bpr, _ = slow_bpr_and_norm(*final, batch)
    assert losses == pytest.approx([bpr, 0.3 * penalty.item(), 0.7 * align, 0.2 * noise, 0.5 * masked], rel=1e-5)


def test_the_published_codes_ssl_trains_the_weights_of_users_alone(planted):
    _, model, train, *_ = built(planted, "MENTOR", **FROZEN, legacy_detached_ssl=True)
    losses = model.train().calculate_loss(next(iter(train)))
    named = dict(zip(model.loss_names, losses, strict=False))
    assert len(losses) == 4 and model.predictor is None
    named["noise"].backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()} == {"modality_preference"}


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, modalities, training):
    _, model, train, *_ = built(planted, "MENTOR", encoder_training=training, modalities=modalities)
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
    check_scores(model)
