"""MMGCL against its equations: two different views, and challenging negatives."""

import math

import pytest
import torch

from recbole_mm.model.graph import InteractionGraph
from recbole_mm.quick_start import run
from recbole_mm.testing.planted import built, settings, write_features
from tests.model.dense import check_scores, dense_adjacency, dense_light_gcn, normalised, randomise, training_pairs, without_gradient

FROZEN = {"encoder_training": "pretrained"}


def dense_branches(model, pairs_of_branch, users_of_branch, rows_of_branch) -> list[torch.Tensor]:
    """All users' and all items' branches side by side, each branch over its own interactions, from its own rows."""
    outputs = []
    for pairs, users, items in zip(pairs_of_branch, users_of_branch, rows_of_branch, strict=True):
        outputs.append(dense_light_gcn(normalised(dense_adjacency(pairs, model.n_users, model.n_items)), users, items, model.n_layers))
    return [torch.cat(side, dim=1) for side in zip(*outputs, strict=True)]


def item_rows(model, features) -> list[torch.Tensor]:
    maps = model.project.maps
    modalities = [rows / rows.norm(dim=1, keepdim=True) @ maps[m].weight.T + maps[m].bias for m, rows in features.items()]
    return [model.item_embedding.weight, *modalities]


def test_embeddings_bpr_and_regularisation_are_those_of_the_equations(planted):
    _, model, train, *_ = built(planted, "MMGCL", reg_weight=0.1, train_batch_size=20, **FROZEN)
    features, batch = randomise(model), next(iter(train))
    rows = item_rows(model, features)
    users, items = dense_branches(model, [training_pairs(train)] * 3, [model.user_embedding.weight] * 3, rows)
    z_users = users @ model.fuse_users.weight.T + model.fuse_users.bias
    z_items = items @ model.fuse_items.weight.T + model.fuse_items.bias
    for ours, wanted in zip(model.embed(), (z_users, z_items), strict=True):
        torch.testing.assert_close(ours, wanted)
    check_scores(model)
    bpr, l2 = [], []
    for user, item, other in zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True):
        bpr.append(math.log1p(math.exp((z_users[user] @ (z_items[other] - z_items[item])).item())))
        of_ids = (model.user_embedding.weight[user], model.item_embedding.weight[item], model.item_embedding.weight[other])
        l2.append(sum((row @ row).item() for row in of_ids) / 2)
    losses = model.calculate_loss(batch)
    assert losses[0].item() == pytest.approx(sum(bpr) / len(bpr)) and losses[2].item() == pytest.approx(0.1 * sum(l2) / len(l2))


def test_the_edge_dropout_view_has_a_graph_of_its_own_for_every_branch(planted, monkeypatch):
    _, model, train, *_ = built(planted, "MMGCL", dropout_rate=0.4, **FROZEN)
    features, drawn, dropout = randomise(model), [], InteractionGraph.dropout
    monkeypatch.setattr(InteractionGraph, "dropout", lambda self, rate: drawn.append(dropout(self, rate)) or drawn[-1])
    rows = item_rows(model, features)
    view = model.edge_dropout_view(model.item_rows())
    pairs = [list(zip(graph.users.tolist(), graph.items.tolist(), strict=True)) for graph in drawn]
    every = training_pairs(train)
    assert all(set(kept) < set(every) and 0.5 < len(kept) / len(every) < 0.7 for kept in pairs)
    assert pairs[0] != pairs[1] != pairs[2] != pairs[0]
    wanted = dense_branches(model, pairs, [model.user_embedding.weight] * 3, rows)
    for ours, slow in zip(view, wanted, strict=True):
        torch.testing.assert_close(ours, slow)


@pytest.mark.parametrize("masked", [1, 2])
def test_the_masking_view_is_the_whole_but_for_one_random_branch(planted, masked):
    _, model, *_ = built(planted, "MMGCL", **FROZEN)
    randomise(model)
    whole = model.branches(model.item_rows())
    first, second = model.masking_view(whole, masked), model.masking_view(whole, masked)
    place = slice(masked * model.size, (masked + 1) * model.size)
    for rows, once, again in zip(whole, first, second, strict=True):
        changed = (rows[1:] != once[1:]).any(dim=0)
        assert changed[place].all() and changed.sum() == model.size, "users and items alike, that modality alone"
        assert not torch.equal(once[:, place], again[:, place])
        torch.testing.assert_close(torch.cat([once[:, : place.start], once[:, place.stop :]], dim=1), rows[:, ~changed])


def test_challenging_negatives_swap_one_branch_that_is_not_masked(planted):
    _, model, *_ = built(planted, "MMGCL", embedding_size=4, feature_files=write_features(planted))
    assert model.n_branches == 4
    rows = torch.arange(50.0).unsqueeze(1).expand(50, 16) + torch.linspace(0, 0.9, 16)
    negatives = model.challenging(rows, masked=2).view(50, 4, 4)
    own = (negatives == rows.view(50, 4, 4)).all(dim=2)
    assert (own.sum(1) == 3).all() and own[:, 2].all() and (~own).any(0).sum() == 3
    sources = negatives.floor().unique(dim=0)
    assert all(len(negatives[i][~own[i]].floor().unique()) == 1 for i in range(50)), "all of a branch is one other node's"
    assert sources.max() < 50
    assert len(model.challenging(rows[:1], masked=2)) == 0, "alone, there is nobody to swap with"


def test_a_view_is_contrasted_by_info_nce_of_users_and_their_items_with_challenging_negatives(planted, monkeypatch):
    _, model, train, *_ = built(planted, "MMGCL", ssl_temp=0.3, train_batch_size=20, **FROZEN)
    randomise(model)
    users, items, swapped = (torch.randn(n, 3 * model.size, dtype=torch.float64) for n in (model.n_users, model.n_items, model.n_items))
    batch, known = model.objective.batch(next(iter(train))), set(training_pairs(train))
    ids = batch.items[batch.positives].unique()
    monkeypatch.setattr(model, "challenging", lambda rows, masked: swapped[ids] if masked == 1 and torch.equal(rows, items[ids]) else None)
    ours = model.contrast(batch, users, items, 1)

    def similarity(user, item):
        a, b = model.fuse_users(users[user]), model.fuse_items(item)
        return (a @ b / (a.norm() * b.norm())).item() / 0.3

    losses = []
    for user, item in zip(batch.users.tolist(), batch.items[batch.positives].tolist(), strict=True):
        plain = [similarity(user, items[j]) for j in ids.tolist() if j == item or (user, j) not in known]
        total = sum(map(math.exp, plain + [similarity(user, swapped[j]) for j in ids.tolist()]))
        losses.append(math.log(total) - similarity(user, items[item]))
    assert ours.item() == pytest.approx(sum(losses) / len(losses))


def test_the_loss_contrasts_users_with_items_in_the_edge_dropout_view_and_in_the_masking_view(planted):
    _, model, train, *_ = built(planted, "MMGCL", ssl_alpha=0.7, **FROZEN)
    views, calls = {"edge_dropout_view": torch.rand(2, 1), "masking_view": torch.rand(2, 1)}, []
    for name, view in views.items():
        setattr(model, name, lambda *_, view=view: view)
    model.contrast = lambda batch, users, items, masked: calls.append((users, items, masked)) or torch.tensor(len(calls))
    losses = model.calculate_loss(next(iter(train)))
    for (users, items, masked), view in zip(calls, views.values(), strict=True):
        assert torch.equal(users, view[0]) and torch.equal(items, view[1]) and masked in (1, 2)
    assert losses[1].item() == pytest.approx(0.7 * (1 + 2))


@pytest.mark.parametrize("keys", [{"rank_scores": "cosine"}, {}], ids=["cosine", "paper"])
def test_it_ranks_by_dot_products_or_by_the_cosine_that_the_contrast_trains(planted, keys):
    _, model, *_ = built(planted, "MMGCL", **keys, **FROZEN)
    randomise(model)
    model.eval()
    with torch.no_grad():
        users, items = model.embed()
        wanted = torch.cosine_similarity(users.unsqueeze(1), items, dim=-1) if keys else users @ items.T
        torch.testing.assert_close(model.full_sort_predict({"user_id": torch.arange(model.n_users)}), wanted.flatten())


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_every_parameter_that_trains_gets_a_gradient(planted_missing, training):
    _, model, train, *_ = built(planted_missing, "MMGCL", encoder_training=training)
    assert without_gradient(model, next(iter(train))) <= {"item_features.encoder.model.logit_scale"}
    assert bool(model.encoder_parameters()) == (training == "end2end")


@pytest.mark.parametrize("modalities", [["text"], ["image", "text"]], ids="+".join)
def test_it_finds_the_planted_preference(planted, modalities):
    keys = {"epochs": 12, "learning_rate": 0.02, "stopping_step": 20, "modalities": modalities, **FROZEN}
    found = run("MMGCL", planted.name, config_dict=settings(planted, **keys), saved=False)["test_result"]["recall@10"]
    assert found > (0.7 if len(modalities) > 1 else 0.5)
