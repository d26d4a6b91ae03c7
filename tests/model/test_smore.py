"""SMORE against its equations in dense matrices."""

import numpy as np
import pytest
import torch

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.model.graph import ItemGraph, max_graphs
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
F = "(fused)"


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ array(layer.weight).T + (0 if layer.bias is None else array(layer.bias))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def fourier(size: int) -> np.ndarray:
    """The whole orthonormal transform, (size, size) complex numbers."""
    return np.exp(-2j * np.pi * np.outer(np.arange(size), np.arange(size)) / size) / np.sqrt(size)


def circulant(kernel: np.ndarray, size: int) -> np.ndarray:
    """The filter k of half the spectrum for the whole one: what a real signal keeps is mirrored, and real at the ends."""
    whole = np.zeros(size, dtype=complex)
    whole[: len(kernel)] = kernel
    for place in range(1, (size + 1) // 2):
        whole[-place] = np.conj(kernel[place])
    return whole


def slow_filtered(model, features) -> dict[str, np.ndarray]:
    """c_m and c_f, by matrices of the Fourier transform."""
    size = model.item_embedding.embedding_dim
    transform = fourier(size)
    kernels = {m: circulant(array(k[:, 0]) + 1j * array(k[:, 1]), size) for m, k in model.fusion.filters.items()}
    spectra = {m: linear(model.transform.maps[m], array(rows)) @ transform for m, rows in features.items()}
    product = np.ones((model.n_items, size), dtype=complex)
    for m, spectrum in spectra.items():
        here = model.item_features.present(m).numpy()
        product[here] *= spectrum[here]
    out = {}
    for m, spectrum in {**spectra, F: product}.items():
        kept = spectrum * kernels[m]
        for end in {0, size // 2} if size % 2 == 0 else {0}:  # of a real signal
            kept[:, end] = kept[:, end].real
        out[m] = (kept @ np.conj(transform)).real
    return out


def slow_views(model, pairs, features) -> tuple[np.ndarray, np.ndarray]:
    """E_id and E_side of users, then items."""
    adjacency = normalised(dense_adjacency(pairs, model.n_users, model.n_items))
    behaviour = array(torch.cat(dense_light_gcn(adjacency, model.user_embedding.weight, model.item_embedding.weight, model.n_layers)))
    graphs = {}
    for m, rows in features.items():
        cosines = dense_knn(rows, model.neighbours[m], ~model.item_features.present(m)).clamp(min=0)
        graphs[m] = array(normalised(cosines))
    graphs[F] = np.max(list(graphs.values()), axis=0)
    views = {}
    for m, rows in slow_filtered(model, features).items():
        gated = array(model.item_embedding.weight) * sigmoid(linear(model.gate.maps[m], rows))
        items = np.linalg.matrix_power(graphs[m], model.n_item_layers) @ gated
        views[m] = np.concatenate([array(adjacency)[: model.n_users, model.n_users :] @ items, items])
    side = 0
    for m, rows in views.items():
        if m != F:
            inner, _, outer, _ = model.preference[m]
            energy = np.exp(linear(outer, np.tanh(linear(inner, views[F]))))
            rows = rows * energy / energy.sum(1, keepdims=True)
        side = side + rows * sigmoid(linear(model.behaviour_gate[m][0], behaviour)) / len(views)
    return behaviour, side


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "keys",
    [{}, {"n_item_layers": 2, "n_layers": 1, "modalities": ["text"], "embedding_size": 7}, {"knn_k": {"image": 6}}],
    ids=str,
)
def test_forward_and_loss_are_those_of_dense_matrices(planted, planted_missing, missing, keys):
    """The filters, the fused view, all graphs, the gates, BPR, InfoNCE, L2."""
    folder = planted_missing if missing else planted
    _, model, train, *_ = built(folder, "SMORE", **{**FROZEN, **keys}, dropout=0, cl_weight=0.5, reg_weight=0.1, train_batch_size=20)
    randomise(model)
    behaviour, side = slow_views(model, training_pairs(train), model.item_features.table())
    ours = [array(rows) for rows in model.views()]
    np.testing.assert_allclose(ours[0], behaviour, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours[1], side, rtol=1e-5, atol=1e-6)

    batch = next(iter(train))
    bpr, norm = slow_bpr_and_norm(*np.split(behaviour + side, [model.n_users]), batch)
    contrast = slow_info_nce(side, behaviour, batch["user_id"].tolist(), 0.2)
    contrast += slow_info_nce(side, behaviour, (batch["item_id"] + model.n_users).tolist(), 0.2)
    losses = [loss.item() for loss in model.calculate_loss(batch)]
    assert losses == pytest.approx([bpr, 0.5 * contrast, 0.1 * norm], rel=1e-5)


def test_modalities_have_neighbours_of_their_own_number(planted):
    _, model, *_ = built(planted, "SMORE", encoder_training="pretrained", knn_k={"image": 6, "audio": 3})
    assert model.neighbours == {"image": 6, "text": 10}
    with pytest.raises(InputError, match="knn_k '.*': a positive whole number, or"):
        MultiModalConfig("SMORE", planted.name, config_dict=settings(planted, knn_k={"image": 0}))


def test_the_largest_of_graphs_is_that_of_their_matrices():
    torch.manual_seed(0)
    graphs = [ItemGraph(torch.stack([torch.randperm(9)[:k] for _ in range(9)]), torch.rand(9, k)) for k in (2, 5, 3)]
    wanted = torch.stack([graph @ torch.eye(9) for graph in graphs]).amax(0)
    torch.testing.assert_close(max_graphs(graphs) @ torch.eye(9), wanted)


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_everything_trains(planted, modalities, training):
    _, model, train, *_ = built(planted, "SMORE", encoder_training=training, modalities=modalities)
    missed = without_gradient(model, next(iter(train)))
    assert not any(not name.startswith("item_features") for name in missed)
    if training == "end2end":
        assert all(p.grad is not None and p.grad.any() for p in model.item_features.encoder.model.visual.parameters())
    check_scores(model)
