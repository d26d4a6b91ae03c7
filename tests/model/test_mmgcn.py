"""MMGCN against its equations, node by node."""

import math

import numpy as np
import pytest
import torch

from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings
from tests.model.dense import check_scores, randomise, training_pairs, without_gradient

FROZEN = {"encoder_training": "pretrained"}


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.01 * x)


def slow_embeddings(model, pairs, features) -> np.ndarray:
    """(n_users + n_items, size): every modality's layers, neighbour by neighbour."""
    value = {name: p.detach().numpy() for name, p in model.named_parameters()}
    ids = np.concatenate([value["user_embedding.weight"], value["item_embedding.weight"]])
    neighbours = [[] for _ in ids]
    for user, item in pairs:
        neighbours[user].append(model.n_users + item)
        neighbours[model.n_users + item].append(user)
    outputs = []
    for m, rows in features.items():
        name = f"networks.{m}"
        items = rows.numpy()
        if f"{name}.reduce.weight" in value:
            items = items @ value[f"{name}.reduce.weight"].T + value[f"{name}.reduce.bias"]
        x = np.concatenate([value[f"{name}.preference.weight"], items])
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        for layer in range(len(model.networks[m].aggregate)):
            w1 = value[f"{name}.aggregate.{layer}.weight"]
            w2, b2 = (value[f"{name}.own.{layer}.{part}"] for part in ("weight", "bias"))
            w3, b3 = (value[f"{name}.combine.{layer}.{part}"] for part in ("weight", "bias"))
            new = []
            for node, around in enumerate(neighbours):
                h = leaky(np.mean([w1 @ x[other] for other in around], axis=0)) if around else np.zeros(len(w1))
                own = leaky(w2 @ x[node] + b2) + ids[node]
                new.append(leaky(w3 @ np.concatenate([h, own]) + b3))
            x = np.array(new)
        outputs.append(x)
    return np.mean(outputs, axis=0)


@pytest.mark.parametrize(("n_layers", "feature_size"), [(1, 256), (2, 256), (3, 8)])
def test_embeddings_and_loss_are_those_of_the_paper(planted, n_layers, feature_size):
    keys = {"n_layers": n_layers, "feature_size": feature_size, "embedding_size": 16, "reg_weight": 0.1, "train_batch_size": 20}
    _, model, train, *_ = built(planted, "MMGCN", **keys, **FROZEN)
    features, batch = randomise(model), next(iter(train))
    wanted = slow_embeddings(model, training_pairs(train), features)
    np.testing.assert_allclose(torch.cat(model.embed()).detach().numpy(), wanted, rtol=1e-5, atol=1e-7)
    check_scores(model)
    users, items = wanted[: model.n_users], wanted[model.n_users :]
    bpr, l2 = [], []
    tables = [model.user_embedding.weight, *(network.preference.weight for network in model.networks.values())]
    for user, item, other in zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True):
        bpr.append(math.log1p(math.exp(-users[user] @ (items[item] - items[other]))))
        rows = [table[user] for table in tables] + [model.item_embedding.weight[i] for i in (item, other)]
        l2.append(sum((row @ row).item() for row in rows) / 2)
    ours = [loss.item() for loss in model.calculate_loss(batch)]
    assert ours == pytest.approx([np.mean(bpr), 0.1 * np.mean(l2)], rel=1e-6)


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_every_parameter_trains_preferences_and_ids_included(planted_missing, training):
    config, model, train, *_ = built(planted_missing, "MMGCN", encoder_training=training)
    assert without_gradient(model, next(iter(train))) <= {"item_features.encoder.model.logit_scale"}
    tables = [model.user_embedding, model.item_embedding, *(network.preference for network in model.networks.values())]
    start = [table.weight.detach().clone() for table in tables]
    build_trainer(config, model)._train_epoch(train, 0)
    assert all((table.weight[1:] != before[1:]).any(dim=1).all() for table, before in zip(tables, start, strict=True))


def test_legacy_embeddings_stay_as_drawn_and_are_saved(planted):
    config, model, train, valid, _ = built(planted, "MMGCN", legacy_frozen_embeddings=True, **FROZEN)
    frozen = {"user_embedding.weight", "item_embedding.weight", "networks.image.preference.weight", "networks.text.preference.weight"}
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == frozen
    start = {name: value.clone() for name, value in model.trained_state().items()}
    build_trainer(config, model).fit(train, valid, verbose=False, saved=False)
    assert {name for name, value in model.trained_state().items() if torch.equal(value, start[name])} == frozen


def test_an_evaluation_uses_the_weights_of_now(planted):
    config, model, train, *_ = built(planted, "MMGCN", **FROZEN)
    batch = next(iter(train))
    model.eval()
    with torch.no_grad():
        first = model.full_sort_predict(batch)
        model.networks["image"].combine[0].bias += 0.1
        assert not torch.equal(first, model.full_sort_predict(batch))


def test_it_finds_the_planted_preference(planted):
    keys = {"epochs": 12, "learning_rate": 0.02, "stopping_step": 20, **FROZEN}
    assert run("MMGCN", planted.name, config_dict=settings(planted, **keys), saved=False)["test_result"]["recall@10"] > 0.7
