"""MGCN against its equations in dense matrices."""

from collections import Counter

import numpy as np
import pytest
import torch

from recbole_mm.model.mgcn import BehaviourAwareFuser
from recbole_mm.quick_start import build_trainer, run
from recbole_mm.testing.planted import built, settings
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


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ array(layer.weight).T + array(layer.bias)


def slow_fuser(fuser: BehaviourAwareFuser, behaviour: np.ndarray, content: dict[str, np.ndarray]) -> np.ndarray:
    """A user or an item at a time."""
    hidden, _, query = fuser.attention
    out = []
    for n, of_ids in enumerate(behaviour):
        energy = np.array([array(query.weight)[0] @ np.tanh(linear(hidden, rows[n])) for rows in content.values()])
        alpha = np.exp(energy) / np.exp(energy).sum()
        shared = sum(a * rows[n] for a, rows in zip(alpha, content.values(), strict=True))
        specific = [(rows[n] - shared) * sigmoid(linear(fuser.preference[m], of_ids)) for m, rows in content.items()]
        out.append(np.mean([shared, *specific], axis=0) if fuser.legacy else shared + np.mean(specific, axis=0))
    return np.stack(out)


def slow_views(model, pairs, features) -> tuple[np.ndarray, np.ndarray]:
    """E_id and E_mul of users, then items."""
    adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items))
    behaviour = array(torch.cat(dense_light_gcn(adjacency, model.user_embedding.weight, model.item_embedding.weight, model.n_layers)))
    of_user, of_item = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    content = {}
    for m, rows in features.items():
        purified = array(model.item_embedding.weight) * sigmoid(linear(model.gate.maps[m], linear(model.transform.maps[m], array(rows))))
        graph = array(normalised(dense_knn(rows, model.neighbours[m], ~model.item_features.present(m)).clamp(min=0)))
        items = np.linalg.matrix_power(graph, model.n_item_layers) @ purified
        users = np.zeros((model.n_users, items.shape[1]))
        for u, i in pairs:
            users[u] += items[i] / np.sqrt(of_user[u] * of_item[i])
        content[m] = np.concatenate([users, items])
    return behaviour, slow_fuser(model.fuser, behaviour, content) if len(content) > 1 else next(iter(content.values()))


@pytest.mark.parametrize("legacy", [False, True])
def test_the_fuser_is_the_papers_or_its_codes(legacy):
    torch.manual_seed(0)
    fuser = BehaviourAwareFuser(("image", "text", "audio"), 6, legacy).double()
    behaviour, content = torch.randn(5, 6).double(), {m: torch.randn(5, 6).double() for m in fuser.preference}
    wanted = slow_fuser(fuser, array(behaviour), {m: array(rows) for m, rows in content.items()})
    np.testing.assert_allclose(array(fuser(behaviour, content)), wanted)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("keys", [{}, {"n_item_layers": 2, "n_layers": 1, "modalities": ["text"]}, {"legacy_fusion": True}], ids=str)
def test_forward_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys):
    """The purifier's gates, both views, the fuser, BPR, InfoNCE, L2."""
    folder = planted_missing if missing else planted
    _, model, train, *_ = built(folder, "MGCN", **FROZEN, cl_weight=0.5, reg_weight=0.1, train_batch_size=20, **keys)
    randomise(model)
    behaviour, content = slow_views(model, training_pairs(train), model.item_features.table())
    ours = [array(rows) for rows in model.views()]
    np.testing.assert_allclose(ours[0], behaviour, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours[1], content, rtol=1e-6, atol=1e-7)

    batch = next(iter(train))
    users, positive = (batch[name].tolist() for name in ("user_id", "item_id"))
    bpr, norm = slow_bpr_and_norm(*np.split(behaviour + content, [model.n_users]), batch)
    contrast = slow_info_nce(content, behaviour, users, 0.2)
    contrast += slow_info_nce(content, behaviour, [model.n_users + i for i in positive], 0.2)
    assert len(set(users)) < len(users)
    losses = [loss.item() for loss in model.calculate_loss(batch)]
    assert losses == pytest.approx([bpr, 0.5 * contrast, 0.1 * norm], rel=1e-5)


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, modalities, training):
    config, model, train, *_ = built(planted, "MGCN", encoder_training=training, modalities=modalities, epochs=1)
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
        before = model.item_graph
        build_trainer(config, model)._train_epoch(train, 0)
        model.start_epoch(1)
        assert model.item_graph is not before, "of the features that the encoder gives now"
    check_scores(model)


def test_finds_the_planted_preference(planted):
    keys = settings(planted, encoder_training="pretrained", epochs=6, learning_rate=0.02)
    assert run("MGCN", planted.name, config_dict=keys, saved=False)["test_result"]["recall@10"] > 0.7
