"""LATTICE against its equations in dense matrices."""

import pytest
import torch
from torch.nn import functional

from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings
from tests.model.dense import (
    check_scores,
    dense_adjacency,
    dense_knn,
    dense_light_gcn,
    normalised,
    randomise,
    training_pairs,
    without_gradient,
)

FROZEN = {"encoder_training": "pretrained", "knn_k": 4}


def dense_graph(rows: torch.Tensor, k: int, absent: torch.Tensor | None = None) -> torch.Tensor:
    return normalised(dense_knn(rows, k, absent).clamp(min=0))


def dense_lattice(model, pairs, initial, features, row_normalised=False) -> tuple[torch.Tensor, torch.Tensor]:
    """The paper's equations, with an n x n matrix for every graph; ``initial`` and ``features`` are e_m before and in training."""
    alpha = [1.0] if model.modality_logits is None else torch.exp(model.modality_logits) / torch.exp(model.modality_logits).sum()
    mixed = 0
    for weight, m in zip(alpha, model.item_features.modalities, strict=True):
        transformed = features[m] @ model.transform.maps[m].weight.T + model.transform.maps[m].bias
        absent = ~model.item_features.present(m)
        learned, first = dense_graph(transformed, model.knn_k, absent), dense_graph(initial[m], model.knn_k, absent)
        mixed = mixed + weight * (model.lambda_coeff * first + (1 - model.lambda_coeff) * learned)
    ids = h = model.item_embedding.weight
    for _ in range(model.n_item_layers):
        h = mixed @ h
    a = dense_adjacency(pairs, model.n_users, model.n_items)
    a = torch.diag(1 / (a.sum(1) + 1)) @ (a + torch.eye(len(a))) if row_normalised else normalised(a)
    users, items = dense_light_gcn(a, model.user_embedding.weight, ids, model.n_layers)
    return users, items + h / h.norm(dim=1, keepdim=True).clamp(min=1e-12)


def every_item(model) -> dict[str, torch.Tensor]:
    """A batch that holds every item."""
    items = torch.arange(1, model.n_items)
    users = 1 + torch.arange(len(items)) % (model.n_users - 1)
    return {"user_id": users, "item_id": items, "neg_item_id": items.flip(0)}


def dense_loss(model, batch, users, items) -> torch.Tensor:
    u, i, j = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    squares = u.pow(2).sum() + i.pow(2).sum() + j.pow(2).sum()
    return -torch.log(torch.sigmoid((u * (i - j)).sum(1))).mean() + model.reg_weight * squares / 2 / len(u)


def test_the_laplacian_is_the_dense_formulas(planted):
    _, model, *_ = built(planted, "LATTICE", **FROZEN)
    features = randomise(model)
    model.float()
    for m, graph in model.build_item_graph({m: rows.float() for m, rows in features.items()}).items():
        assert (graph @ torch.eye(model.n_items) - dense_graph(features[m], 4)).abs().max() < 1e-6


@pytest.mark.parametrize(
    "keys", [{}, {"legacy_row_normalised": True}, {"n_item_layers": 2, "n_layers": 3, "modalities": ["text"]}], ids=str
)
def test_forward_and_gradients_are_those_of_dense_matrices(planted, keys):
    _, model, train, *_ = built(planted, "LATTICE", **FROZEN, reg_weight=0.1, **keys)
    initial = randomise(model)
    batch = every_item(model)
    sum(model.calculate_loss(batch)).backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    users, items = dense_lattice(model, training_pairs(train), initial, model.trained.table(), bool(keys.get("legacy_row_normalised")))
    for rows, wanted in zip(model.embed(), (users, items), strict=True):
        torch.testing.assert_close(rows, wanted)
    dense_loss(model, batch, users, items).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-5, atol=1e-8)


def test_encoder_gradients_are_those_of_encoding_the_whole_catalogue(planted):
    _, model, train, *_ = built(planted, "LATTICE", knn_k=4)
    model.double()
    encoder, content, ids = model.item_features.encoder, model.item_features.content, torch.arange(1, model.n_items)
    model.start_epoch(0)
    batch = every_item(model)
    sum(model.calculate_loss(batch)).backward()
    ours = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    model.zero_grad()
    rows = encoder({"image": content.images(ids), "text": encoder.tokenize(content.texts(ids))})
    features = {m: functional.pad(row, (0, 0, 1, 0)) for m, row in rows.items()}
    initial = {m: row.detach() for m, row in features.items()}
    dense_loss(model, batch, *dense_lattice(model, training_pairs(train), initial, features)).backward()
    wanted = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert sum(grad.abs().sum() for grad in wanted.values()) > 1e-6
    for name, grad in wanted.items():
        torch.testing.assert_close(ours.get(name, torch.zeros_like(grad)), grad, rtol=1e-4, atol=1e-8)


def test_the_first_batch_of_an_epoch_makes_the_graph_with_gradient_and_the_others_keep_it(planted):
    _, model, train, *_ = built(planted, "LATTICE", **FROZEN)
    batch = next(iter(train))
    for epoch in range(2):
        assert without_gradient(model, batch) == set()
        kept = model.mixed_graph()
        with torch.no_grad():
            model.transform.maps["image"].weight.mul_(-2).add_(0.1)
        model.zero_grad()
        sum(model.calculate_loss(batch)).backward()
        assert model.mixed_graph() is kept and model.modality_logits.grad is None and model.user_embedding.weight.grad is not None, epoch
    users = torch.arange(model.n_users)
    model.eval()
    with torch.no_grad():
        scores = model.full_sort_predict({"user_id": users})
        model.transform.maps["image"].weight.neg_().add_(0.3)
        assert not torch.equal(scores, model.full_sort_predict({"user_id": users})), "an evaluation's graph is that of the weights it has"


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, modalities, training):
    config, model, train, *_ = built(planted, "LATTICE", encoder_training=training, modalities=modalities, epochs=1)
    batch = next(iter(train))
    missed = without_gradient(model, batch)
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        sum(model.calculate_loss(batch)).backward()
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters()), "in every batch"
    build_trainer(config, model)._train_epoch(train, 0)
    check_scores(model)


def test_items_without_a_modality_have_no_neighbours_in_it(planted_missing):
    _, model, train, *_ = built(planted_missing, "LATTICE", **FROZEN)
    absent = ~model.item_features.present("image")
    assert absent.sum() > 2
    randomise(model)
    initial = model.item_features.table()
    for m, graph in model.item_graph.items():
        dense = graph @ torch.eye(model.n_items, dtype=torch.float64)
        gone = ~model.item_features.present(m)
        assert not dense[gone].any() and not dense[:, gone].any() and dense[~gone].any(1).all()
    users, items = dense_lattice(model, training_pairs(train), initial, model.trained.table())
    torch.testing.assert_close(model.embed()[1], items)
    check_scores(model)


def test_the_learning_rate_falls(planted):
    config, model, *_ = built(planted, "LATTICE", **FROZEN)
    assert model.learning_rate_factor(0) == 1 and model.learning_rate_factor(100) == pytest.approx(0.96**2)


def test_finds_the_planted_preference(planted):
    keys = settings(planted, encoder_training="pretrained", epochs=6, learning_rate=0.02)
    assert run("LATTICE", planted.name, config_dict=keys, saved=False)["test_result"]["recall@10"] > 0.7
