"""COHESION against its equations in dense matrices."""

import math

import numpy as np
import pytest
import torch

from recbole_mm.model.cohesion import IDS
from recbole_mm.testing.planted import built
from tests.model.dense import (
    check_scores,
    dense_adjacency,
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
    ({"n_layers": 1, "user_knn_k": 40, "modality_weights": {"text": 0.3}}, {"image": 0.7, "text": 0.3}),
    ({"n_layers": 3, "modalities": ["text"]}, {"text": 1.0}),
    ({"legacy_detached_ids": True}, {"image": 0.1, "text": 0.9}),
]


def dense_layer_gcn(adjacency: torch.Tensor, x: torch.Tensor, layers: int) -> torch.Tensor:
    total = layer = x
    for _ in range(layers):
        rows = []
        for row, first in zip(adjacency @ layer, x, strict=True):
            length = (row.norm() * first.norm()).item()
            rows.append(row * (row @ first / length if length else 0.0))
        layer = torch.stack(rows)
        total = total + layer
    return total


def dense_cohesion(model, pairs, weights, user_knn_k) -> tuple[torch.Tensor, torch.Tensor]:
    features, ids = model.item_features.table(), model.item_embedding.weight
    adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items))
    views = []
    for place, (view, rows) in enumerate({IDS: ids, **model.item_features.centred()}.items()):
        g = dense_tower_items(model.towers.maps[view], rows)
        x = torch.cat([model.towers.preferences[:, place], torch.sqrt((ids**2 + g**2) / 2 + 1e-8)])
        views.append(dense_layer_gcn(adjacency, x / x.norm(dim=1, keepdim=True), model.n_layers))
    users, items = torch.cat(views, dim=1).split([model.n_users, model.n_items])
    users = users + dense_user_graph(pairs, model.n_users, user_knn_k) @ users
    return users, items + dense_weighted_item_graph(model, features, weights) @ items


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("keys, weights", CASES, ids=str)
def test_embeddings_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys, weights):
    keys = {**FROZEN, **keys}
    _, model, train, *_ = built(planted_missing if missing else planted, "COHESION", reg_weight=0.3, train_batch_size=20, **keys)
    randomise(model)
    dense = dense_cohesion(model, training_pairs(train), weights, keys["user_knn_k"])
    users, items = (rows.detach() for rows in dense)
    ours = model.embed()
    torch.testing.assert_close(ours[0], users, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours[1], items, rtol=1e-5, atol=1e-7)

    batch = next(iter(train))
    bpr, n_views = [], 1 + len(weights)
    for u, i, j in zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True):
        margins = [float(a @ b - a @ c) for a, b, c in zip(*(rows.chunk(n_views) for rows in (users[u], items[i], items[j])), strict=True)]
        shares = np.exp(margins) / np.exp(margins).sum()
        bpr.append(math.log1p(math.exp(-sum((1 - share) * margin for share, margin in zip(shares, margins, strict=True)))))
    preferences = model.towers.preferences[batch["user_id"]]
    penalty = sum((preferences[:, view] ** 2).mean() for view in range(n_views))
    losses = [loss.item() for loss in model.calculate_loss(batch)]
    assert losses == pytest.approx([np.mean(bpr), 0.3 * penalty.item()], rel=1e-5)


def test_the_stress_is_a_constant_of_the_interaction(planted):
    """The gradient is that of a sum whose weights are numbers."""
    _, model, train, *_ = built(planted, "COHESION", **FROZEN, train_batch_size=20)
    randomise(model)
    batch = next(iter(train))
    gradients = []
    for fixed in (False, True):
        if fixed:
            users, items = (rows.detach() for rows in model.embed())
            u, i, j = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
            stress = model.stress(u, i, j)
            model.stress = lambda *_: stress  # noqa: B023
        model.zero_grad()
        model.calculate_loss(batch)[0].backward()
        gradients.append(model.towers.preferences.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss_type", ["SSM", "sampled_softmax", "DirectAU"])
def test_losses_without_negatives_of_their_own_stress_views_too(planted, loss_type):
    _, model, train, *_ = built(planted, "COHESION", **FROZEN, loss_type=loss_type)
    seen = []
    model.stress = lambda u, i, j, stress=model.stress: seen.append(stress(u, i, j)) or seen[-1]
    sum(model.calculate_loss(next(iter(train)))).backward()
    (weights,) = seen
    assert weights.shape[1] == 3 and not weights.requires_grad
    torch.testing.assert_close(weights.sum(1), torch.full((len(weights),), 2.0))


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, training):
    _, model, train, *_ = built(planted, "COHESION", encoder_training=training, modalities=["image", "text"])
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
    check_scores(model)


def test_the_released_codes_ids_train_in_the_modalities_views_alone(planted):
    _, model, train, *_ = built(planted, "COHESION", **FROZEN, legacy_detached_ids=True, reg_weight=0.0)
    missed = without_gradient(model, next(iter(train)))
    assert any(IDS in name for name in missed) and "item_embedding.weight" not in missed
    assert not model.towers.preferences.grad[:, 0].any() and model.towers.preferences.grad[:, 1:].any()


def test_an_epoch_trains_on_its_part_and_an_evaluation_is_on_all(planted):
    _, model, train, *_ = built(planted, "COHESION", **FROZEN, edge_dropout=0.4)
    model.train().start_epoch(0)
    part, whole = ((matrix.forward_csr.values() != 0).sum().item() for matrix in (model.training_adjacency, model.adjacency))
    assert whole == 2 * len(training_pairs(train)) and part == 2 * int(0.6 * len(training_pairs(train)))
    trained = model.embed()[0]
    assert not torch.equal(model.eval().embed()[0], trained)
