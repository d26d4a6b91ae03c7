"""DualGNN against its equations in dense matrices."""

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
    normalised,
    randomise,
    training_pairs,
    without_gradient,
)

CASES = [{}, {"n_layers": 1, "user_knn_k": 40}, {"modalities": ["text"]}, {"legacy_aliased_sum": True}]


def dense_dualgnn(model, pairs, user_knn_k, aliased) -> tuple[torch.Tensor, torch.Tensor]:
    adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items))
    towers = []
    for place, (m, rows) in enumerate(model.item_features.centred().items()):
        g = dense_tower_items(model.towers.maps[m], rows)
        towers.append(dense_tower(adjacency, model.towers.preferences[:, place], g, model.n_layers))
    items = sum(towers)[model.n_users :]
    if aliased:
        towers[0] = sum(towers)
    h = sum(torch.diag(model.modality_preference[:, place]) @ tower[: model.n_users] for place, tower in enumerate(towers))
    return h + dense_user_graph(pairs, model.n_users, user_knn_k) @ h, items


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("keys", CASES, ids=str)
def test_embeddings_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys):
    keys = {"encoder_training": "pretrained", "reg_weight": 0.3, "train_batch_size": 20, "user_knn_k": 3, **keys}
    _, model, train, *_ = built(planted_missing if missing else planted, "DualGNN", **keys)
    randomise(model)
    dense = dense_dualgnn(model, training_pairs(train), keys["user_knn_k"], keys.get("legacy_aliased_sum"))
    users, items = (rows.detach() for rows in dense)
    ours = model.embed()
    torch.testing.assert_close(ours[0], users, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours[1], items, rtol=1e-5, atol=1e-7)

    batch = next(iter(train))
    columns = zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True)
    bpr = [math.log1p(math.exp(float(users[u] @ items[j] - users[u] @ items[i]))) for u, i, j in columns]
    preferences = model.towers.preferences[batch["user_id"]]
    penalty = sum((preferences[:, m] ** 2).mean() for m in range(preferences.shape[1])) + (model.modality_preference**2).mean()
    losses = [loss.item() for loss in model.calculate_loss(batch)]
    assert losses == pytest.approx([sum(bpr) / len(bpr), 0.3 * penalty.item()], rel=1e-5)


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, training):
    _, model, train, *_ = built(planted, "DualGNN", encoder_training=training, modalities=["image", "text"])
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
    check_scores(model)
