"""FREEDOM against its equations in dense matrices."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.model.graph import InteractionGraph
from recbole_mm.model.item_graph import spread_weights
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
PAIRS = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 3)]


def dense_item_graph(model, features, weights) -> torch.Tensor:
    binary = {m: (dense_knn(rows, model.knn_k, ~model.item_features.present(m)) != 0).double() for m, rows in features.items()}
    return sum(weights[m] * normalised(binary[m]) for m in features)


def dense_freedom(model, pairs, item_graph) -> tuple[torch.Tensor, torch.Tensor]:
    ids = h = model.item_embedding.weight
    for _ in range(model.n_item_layers):
        h = item_graph @ h
    adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items))
    users, items = dense_light_gcn(adjacency, model.user_embedding.weight, ids, model.n_layers)
    return users, items + h


def with_pairs(model, pairs=PAIRS):
    """The model, over a handful of interactions."""
    users, items = torch.tensor(pairs).T
    model.interactions = InteractionGraph(users, items, model.n_users, model.n_items)
    return model


@pytest.mark.parametrize("missing", [False, True])
def test_the_item_graph_is_the_weighted_sum_of_the_modalities(planted, planted_missing, missing):
    _, model, *_ = built(planted_missing if missing else planted, "FREEDOM", **FROZEN)
    features = randomise(model)
    wanted = dense_item_graph(model, features, {"image": 0.1, "text": 0.9})
    assert (model.item_graph @ torch.eye(model.n_items) - wanted).abs().max() < 1e-6
    for epoch in range(2):
        graph = model.item_graph
        model.start_epoch(epoch)
        assert model.item_graph is graph, "frozen"


def test_an_interaction_is_kept_by_the_degrees_of_its_user_and_item(planted):
    model = with_pairs(built(planted, "FREEDOM", **FROZEN, edge_dropout=0.5)[1])
    of_user, of_item = Counter(u for u, _ in PAIRS), Counter(i for _, i in PAIRS)
    weights = np.array([1 / np.sqrt(of_user[u] * of_item[i]) for u, i in PAIRS])
    np.testing.assert_allclose(model.interactions.edge_weights().numpy(), weights, rtol=1e-6)
    p, chances = weights / weights.sum(), Counter()
    for first, second in permutations(range(len(PAIRS)), 2):
        chances[frozenset((PAIRS[first], PAIRS[second]))] += p[first] * p[second] / (1 - p[first])
    n, drawn = 4000, Counter()
    for _ in range(n):
        kept = model.prune()
        drawn[frozenset(zip(kept.users.tolist(), kept.items.tolist(), strict=True))] += 1
    assert drawn.keys() <= chances.keys(), "half of 5, rounded down, and none of them twice"
    for kept, chance in chances.items():
        assert abs(drawn[kept] / n - chance) < 4.5 * np.sqrt(chance * (1 - chance) / n), kept


def test_an_epoch_trains_on_its_part_and_an_evaluation_is_on_all(planted):
    _, model, train, *_ = built(planted, "FREEDOM", **FROZEN, edge_dropout=0.4)
    features, pairs = randomise(model), training_pairs(train)
    graph = dense_item_graph(model, features, {"image": 0.1, "text": 0.9})
    seen = []
    for epoch in range(2):
        torch.manual_seed(epoch)
        model.train().start_epoch(epoch)
        torch.manual_seed(epoch)
        part = model.prune()
        kept = list(zip(part.users.tolist(), part.items.tolist(), strict=True))
        assert len(kept) == int(0.6 * len(pairs)) and set(kept) < set(pairs) and kept not in seen
        seen.append(kept)
        for mode, edges in ((True, kept), (False, pairs)):
            with torch.no_grad():
                ours = model.train(mode).final_embeddings()
            for rows, wanted in zip(ours, dense_freedom(model, edges, graph), strict=True):
                torch.testing.assert_close(rows, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_the_loss_is_bpr_on_the_embeddings_and_on_each_modality(planted, training):
    """One pair at a time, with an encoder call for every occurrence of an item."""
    _, model, train, *_ = built(planted, "FREEDOM", encoder_training=training, reg_weight=0.3, train_batch_size=6)
    model.double().train().start_epoch(0)
    batch = next(iter(train))
    loss = sum(model.calculate_loss(batch))
    users, items = model.embed()
    bpr = {name: 0.0 for name in ("final", *model.item_features.modalities)}
    for u, i, j in zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True):
        views = {"final": (items[i], items[j])}
        for m, layer in model.project.maps.items():
            views[m] = tuple(layer.weight @ model.item_features(torch.tensor([item]))[m][0] for item in (i, j))
        for name, (of_i, of_j) in views.items():
            bpr[name] += -torch.log(torch.sigmoid(users[u] @ of_i - users[u] @ of_j)) / len(batch)
    torch.testing.assert_close(loss, bpr["final"] + 0.3 * (bpr["image"] + bpr["text"]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, modalities, training):
    config, model, train, *_ = built(planted, "FREEDOM", encoder_training=training, modalities=modalities, epochs=1)
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
        before = model.item_graph
        build_trainer(config, model)._train_epoch(train, 0)
        model.start_epoch(1)
        assert model.item_graph is not before, "of the features that the encoder gives now"
    check_scores(model)


def test_a_step_reads_the_features_of_its_items_alone(planted):
    _, model, train, *_ = built(planted, "FREEDOM", encoder_training="pretrained", train_batch_size=5)
    read, projected = [], model.item_features.projected
    model.item_features.projected = lambda maps, ids, *more: read.append(len(ids)) or projected(maps, ids, *more)
    batch = next(iter(train))
    model.calculate_loss(batch)
    assert read == [len(torch.cat([batch["item_id"], batch["neg_item_id"]]).unique())]


@pytest.mark.parametrize(
    "named, modalities, wanted",
    [
        ({"image": 0.1}, ("image", "text"), [0.1, 0.9]),
        ({"image": 0.1}, ("image", "text", "audio"), [0.1, 0.45, 0.45]),
        ({"image": 0.1}, ("text", "audio"), [0.5, 0.5]),
        ({"image": 0.1}, ("image",), [1.0]),
        (None, ("image", "text"), [0.5, 0.5]),
        ({"image": 0.2, "text": 0.2}, ("image", "text"), [0.5, 0.5]),
    ],
)
def test_weights_are_spread_over_the_modalities_in_use(named, modalities, wanted):
    assert spread_weights(named, modalities) == pytest.approx(dict(zip(modalities, wanted, strict=True)))


@pytest.mark.parametrize("named", [0.1, {"image": -1}, {"image": "much"}, {"image": 2}], ids=str)
def test_weights_are_numbers_from_0_to_1_of_modalities(planted, named):
    with pytest.raises(InputError, match="modality_weights '.*': weights from 0 to 1"):
        MultiModalConfig("FREEDOM", planted.name, config_dict=settings(planted, modality_weights=named))


@pytest.mark.parametrize("named", [{"image": 0.9, "text": 0.9}, {"image": 0.0}], ids=str)
def test_weights_that_leave_nothing_are_an_error(named):
    modalities = ("image",) if named == {"image": 0.0} else ("image", "text", "audio")
    with pytest.raises(InputError, match="modality_weights"):
        spread_weights(named, modalities)


def test_finds_the_planted_preference(planted):
    keys = settings(planted, encoder_training="pretrained", epochs=6, learning_rate=0.02)
    assert run("FREEDOM", planted.name, config_dict=keys, saved=False)["test_result"]["recall@10"] > 0.7
