"""DiffMM against its equations in dense matrices."""

from itertools import combinations

import pytest
import torch

from recbole_mm.testing.planted import built
from tests.model.dense import check_scores, dense_adjacency, normalised, randomise, training_pairs, without_gradient

FROZEN = {"encoder_training": "pretrained", "denoiser_size": 16}


def with_loops(pairs, model) -> torch.Tensor:
    a = dense_adjacency(pairs, model.n_users, model.n_items)
    return normalised(a + torch.eye(len(a)))


def dense_diffmm(model, pairs, features) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The final embeddings of users, then items, and the contrastive views, as the paper has them, one modality after the other."""
    a, n = with_loops(pairs, model), model.n_users
    users, items = model.user_embedding.weight, model.item_embedding.weight
    alpha = [1.0] if model.modality_logits is None else torch.exp(model.modality_logits) / torch.exp(model.modality_logits).sum()
    fused, views = 0, []
    for weight, (m, f), rebuilt in zip(alpha, features.items(), model.rebuilt, strict=True):
        g = f @ model.project.maps[m].weight.T
        g = torch.where(g > 0, g, 0.2 * g) if model.projection == "leaky" else g + model.project.maps[m].bias
        g = g / g.norm(dim=1, keepdim=True).clamp(min=1e-12)
        b = with_loops([(u, i) for u, tops in enumerate(rebuilt.tolist()) for i in tops if i], model)
        e = a @ torch.cat([users, g])
        e = e + a @ torch.cat([e[:n], items])
        fused = fused + weight * (e + model.graph_weight * b @ torch.cat([users, items]))
        views.append(sum(torch.linalg.matrix_power(a, k) for k in range(model.n_layers + 1)) @ (b @ torch.cat([users, g])))
    layers = sum(torch.linalg.matrix_power(a, k) @ fused for k in range(model.n_layers + 1))
    return layers + model.residual_weight * fused / fused.norm(dim=1, keepdim=True).clamp(min=1e-12), views


def dense_contrast(a, b, ids, temperature) -> torch.Tensor:
    """One row of the batch at a time, against all rows but the padding."""
    losses = [(torch.cosine_similarity(a[i], b[1:], dim=-1) / temperature).log_softmax(0)[i - 1] for i in ids.tolist()]
    return -sum(losses) / len(losses)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"contrast": "modalities", "projection": "leaky", "n_layers": 2, "rebuild_k": 3},
        {"modalities": ["text"]},
        {"modalities": ["text"], "contrast": "modalities"},
    ],
    ids=str,
)
def test_embeddings_and_losses_are_those_of_dense_matrices(planted_missing, keys):
    _, model, train, *_ = built(planted_missing, "DiffMM", **FROZEN, reg_weight=0.1, ssl_weight=0.3, edge_dropout=0.0, **keys)
    randomise(model)
    model.rebuilt.copy_(torch.rand(*model.rebuilt.shape[:2], model.n_items - 1).topk(model.rebuilt.shape[2]).indices + 1)
    model.rebuilt[:, 0] = 0
    batch, n = next(iter(train)), model.n_users
    wanted, views = dense_diffmm(model, training_pairs(train), model.item_features.table())
    torch.testing.assert_close(torch.cat(model.embed()), wanted, rtol=1e-5, atol=1e-6)
    u, i, j = wanted[batch["user_id"]], wanted[n + batch["item_id"]], wanted[n + batch["neg_item_id"]]
    bpr = -torch.log(torch.sigmoid((u * (i - j)).sum(1))).mean().item()
    compared = [(wanted, view) for view in views] if model.contrast == "final" else combinations(views, 2)
    sides = [(rows, batch[ids]) for rows, ids in ((slice(0, n), "user_id"), (slice(n, None), "item_id"))]
    contrast = sum(dense_contrast(a[rows], b[rows], ids, 0.5).item() for a, b in compared for rows, ids in sides)
    squares = sum((table.weight**2).sum().item() for table in (model.user_embedding, model.item_embedding))
    ours = torch.stack(model.calculate_loss(batch)).tolist()
    assert ours == pytest.approx([bpr, 0.3 * contrast, 0.1 * squares], rel=1e-5)


def test_an_epoch_has_the_same_graphs_and_the_next_one_others(planted):
    _, model, *_ = built(planted, "DiffMM", **FROZEN, edge_dropout=0.5, denoiser_learning_rate=0.02)
    model.train()
    seen = []
    for epoch in range(3):
        model.start_epoch(epoch)
        seen.append((model.rebuilt.clone(), [graph @ torch.eye(graph.shape[1]) for graph in model.current_graphs()]))
        assert model.current_graphs() is model.training_graphs
    assert not torch.equal(seen[0][0], seen[2][0]), "the denoisers have trained"
    for rebuilt, graphs in seen:
        assert rebuilt[:, 1:].min() > 0 and rebuilt.max() < model.n_items
        for tops, graph in zip(rebuilt, graphs, strict=True):
            whole = with_loops([(u, i) for u, items in enumerate(tops.tolist()) for i in items if i], model).float()
            kept = graph != 0
            torch.testing.assert_close(graph[kept], 2 * whole[kept])
            assert 0.3 < kept.sum() / (whole != 0).sum() < 0.7
    model.eval()
    for tops, graph in zip(model.rebuilt, model.current_graphs(), strict=True):
        whole = with_loops([(u, i) for u, items in enumerate(tops.tolist()) for i in items if i], model).float()
        torch.testing.assert_close(graph @ torch.eye(graph.shape[1]), whole, msg="an evaluation has all entries")


def test_what_the_recommender_trains_does_not_reach_the_denoisers(planted):
    """They are no parameters, and a state_dict has all that their next epoch depends on."""
    _, model, train, *_ = built(planted, "DiffMM", **FROZEN)
    assert not any("denoisers" in name for name, _ in model.named_parameters())
    model.start_epoch(0)
    other = built(planted, "DiffMM", **FROZEN)[1]
    other.load_state_dict(model.state_dict())
    for one in (model, other):
        torch.manual_seed(8)
        one.train().start_epoch(1)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    batch = next(iter(train))
    assert torch.equal(*(torch.stack(one.calculate_loss(batch)) for one in (model, other)))


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_every_parameter_that_trains_gets_a_gradient(planted_missing, training):
    _, model, train, *_ = built(planted_missing, "DiffMM", encoder_training=training, denoiser_size=16)
    assert without_gradient(model, next(iter(train))) <= {"item_features.encoder.model.logit_scale"}
    check_scores(model)


def test_no_dense_matrix_of_users_and_items(planted, monkeypatch):
    _, model, *_ = built(planted, "DiffMM", **FROZEN, diffusion_batch_size=7)
    sizes, rows = [], type(model.interactions).rows
    monkeypatch.setattr(type(model.interactions), "rows", lambda self, users: sizes.append(len(users)) or rows(self, users))
    model.start_epoch(0)
    assert max(sizes) == 7 and sum(sizes) == 2 * (model.n_users - 1)
