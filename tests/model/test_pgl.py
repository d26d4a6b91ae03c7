"""PGL against its equations in dense matrices."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.pgl import low_rank_adjacency
from recbole_mm.testing.planted import built
from tests.model.dense import (
    check_scores,
    dense_adjacency,
    dense_knn,
    dense_light_gcn,
    normalised,
    randomise,
    slow_bpr_and_norm,
    slow_info_nce,
    training_pairs,
    without_gradient,
)

FROZEN = {"encoder_training": "pretrained", "knn_k": 4}


def dense_low_rank(pairs, n_users: int, n_items: int, rank: int) -> torch.Tensor:
    """The sum of the ``rank`` largest singular values' parts of the square matrix over users and items, as the paper has it."""
    left, values, right = torch.linalg.svd(normalised(dense_adjacency(pairs, n_users, n_items)))
    low = left[:, :rank] @ torch.diag(values[:rank]) @ right[:rank]
    return torch.where(low >= 1e-3, low, 0)


def dense_pgl(model, graph: torch.Tensor, features) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [functional.normalize(layer(features[m]), dim=1) for m, layer in model.project.maps.items()]
    y = torch.cat(rows, dim=1)
    binary = {m: (dense_knn(x, model.knn_k, ~model.item_features.present(m)) != 0).double() for m, x in features.items()}
    item_graph = sum(model.modality_weights[m] * normalised(binary[m]) for m in features)
    users, items = dense_light_gcn(graph, model.user_embedding.weight, y, model.n_layers)
    return users, items + torch.linalg.matrix_power(item_graph, model.n_item_layers) @ y


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("keys", [{}, {"mode": "global"}, {"n_layers": 1, "n_item_layers": 2, "modalities": ["text"]}], ids=str)
def test_embeddings_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys):
    """Trained on a part of the graph, scored on all of it; BPR and InfoNCE between two dropouts."""
    keys = {**FROZEN, "legacy_trained_features": False, "cl_weight": 0.4, "dropout": 0.3, "train_batch_size": 20, **keys}
    _, model, train, *_ = built(planted_missing if missing else planted, "PGL", **keys)
    randomise(model)
    features, pairs = model.item_features.table(), training_pairs(train)
    n_users, n_items = model.n_users, model.n_items
    full = normalised(dense_adjacency(pairs, n_users, n_items))
    torch.manual_seed(0)
    model.train().start_epoch(0)
    if keys.get("mode") == "global":
        principal = dense_low_rank(pairs, n_users, n_items, 16)
    else:
        torch.manual_seed(0)
        drawn = model.interactions.sample(0.3, model.interactions.edge_weights())
        kept = list(zip(drawn.users.tolist(), drawn.items.tolist(), strict=True))
        assert len(kept) == int(0.3 * len(pairs)) and set(kept) < set(pairs)
        principal = normalised(dense_adjacency(kept, n_users, n_items))
    for mode, graph in ((True, principal), (False, full)):
        with torch.no_grad():
            ours, wanted = model.train(mode).embed(), dense_pgl(model, graph, features)
        for rows, right in zip(ours, wanted, strict=True):
            torch.testing.assert_close(rows, right, rtol=1e-5, atol=1e-6)

    batch = next(iter(train))
    users, items = (rows.detach() for rows in dense_pgl(model, principal, features))
    bpr, _ = slow_bpr_and_norm(users.numpy(), items.numpy(), batch)
    torch.manual_seed(1)
    losses = [loss.item() for loss in model.train().calculate_loss(batch)]
    torch.manual_seed(1)
    contrast = []
    for rows, ids in ((users, batch["user_id"]), (items, batch["item_id"])):
        distinct, places = ids.unique(return_inverse=True)
        views = [functional.dropout(rows[distinct], 0.3).numpy() for _ in range(2)]
        contrast.append(slow_info_nce(*views, places.tolist(), 0.2))
    assert losses == pytest.approx([bpr, 0.4 * np.mean(contrast)], rel=1e-5)


def test_every_epoch_draws_edges_of_its_own_and_singular_values_stay(planted):
    for mode in ("local", "global"):
        _, model, *_ = built(planted, "PGL", **FROZEN, mode=mode)
        graphs = []
        for epoch in range(2):
            model.train().start_epoch(epoch)
            graphs.append(model.training_adjacency)
        assert (graphs[0] is graphs[1]) == (mode == "global")


@pytest.mark.parametrize("rank", [1, 3, 100])
def test_of_a_few_interactions_as_many_values_as_there_are(rank, monkeypatch):
    """A few users at a time as well."""
    pairs = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 3), (4, 4), (4, 2)]
    users, items = torch.tensor(pairs).T
    wanted = dense_low_rank(pairs, 6, 5, 2 * min(rank, 4))
    for cells in (2**24, 12):
        monkeypatch.setattr("recbole_mm.model.pgl.CELLS_AT_ONCE", cells)
        ours = low_rank_adjacency(InteractionGraph(users, items, 6, 5), rank) @ torch.eye(11)
        torch.testing.assert_close(ours, wanted.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["local", "global"])
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, mode, training):
    _, model, train, *_ = built(planted, "PGL", encoder_training=training, mode=mode)
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert model.trained is None
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
    check_scores(model)
