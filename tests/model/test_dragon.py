"""DRAGON against its equations in dense matrices."""

import math

import pytest
import torch

from recbole_mm.testing.planted import built
from tests.model.dense import (
    check_scores,
    dense_adjacency,
    dense_tower,
    dense_tower_items,
    dense_user_graph,
    dense_weighted_item_graph,
    normalised,
    randomise,
    training_pairs,
    without_gradient,
)

FROZEN = {"encoder_training": "pretrained", "knn_k": 4, "user_knn_k": 3}
CASES = [
    ({}, {"image": 0.1, "text": 0.9}),
    (
        {"n_layers": 1, "n_user_layers": 2, "n_item_layers": 2, "user_knn_k": 40, "modality_weights": {"text": 0.3}},
        {"image": 0.7, "text": 0.3},
    ),
    ({"modalities": ["text"]}, {"text": 1.0}),
]


def dense_dragon(model, pairs, weights, user_knn_k) -> tuple[torch.Tensor, torch.Tensor]:
    features = model.item_features.table()
    adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items))
    users, items = [], []
    for place, (m, rows) in enumerate(model.item_features.centred().items()):
        g = dense_tower_items(model.towers.maps[m], rows)
        tower = dense_tower(adjacency, model.towers.preferences[:, place], g, model.n_layers)
        users.append(torch.diag(model.modality_preference[:, place]) @ tower[: model.n_users])
        items.append(tower[model.n_users :])
    h, y = torch.cat(users, dim=1), torch.cat(items, dim=1)
    n = torch.linalg.matrix_power(dense_user_graph(pairs, model.n_users, user_knn_k), model.n_user_layers)
    s = torch.linalg.matrix_power(dense_weighted_item_graph(model, features, weights), model.n_item_layers)
    return h + n @ h, y + s @ y


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("keys, weights", CASES, ids=str)
def test_embeddings_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys, weights):
    keys = {**FROZEN, **keys}
    _, model, train, *_ = built(planted_missing if missing else planted, "DRAGON", reg_weight=0.3, train_batch_size=20, **keys)
    randomise(model)
    users, items = dense_dragon(model, training_pairs(train), weights, keys["user_knn_k"])
    ours = model.embed()
    torch.testing.assert_close(ours[0], users, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours[1], items, rtol=1e-5, atol=1e-7)

    batch = next(iter(train))
    users, items = users.detach(), items.detach()
    columns = zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True)
    bpr = [math.log1p(math.exp(float(users[u] @ items[j] - users[u] @ items[i]))) for u, i, j in columns]
    squares = [rows[m] ** 2 for rows in model.towers.preferences[batch["user_id"]] for m in range(len(weights))]
    penalty = len(weights) * torch.stack(squares).mean() + (model.modality_preference**2).mean()
    losses = [loss.item() for loss in model.calculate_loss(batch)]
    assert losses == pytest.approx([sum(bpr) / len(bpr), 0.3 * penalty.item()], rel=1e-5)


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, modalities, training):
    _, model, train, *_ = built(planted, "DRAGON", encoder_training=training, modalities=modalities)
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
    check_scores(model)


def test_modalities_weigh_about_the_same_at_first(planted):
    weights = built(planted, "DRAGON", **FROZEN)[1].modality_preference
    assert weights.std() > 0 and (weights - 0.5).abs().max() < 0.35
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
