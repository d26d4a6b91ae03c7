"""Slow references that the tests of graph models share: dense matrices, written from the papers' equations."""

import numpy as np
import torch
from torch import Tensor


def training_pairs(loader) -> list[tuple[int, int]]:
    """The distinct (user, item) pairs of a training loader."""
    interactions = loader.dataset.inter_feat
    return sorted(set(zip(interactions["user_id"].tolist(), interactions["item_id"].tolist(), strict=True)))


def dense_adjacency(pairs: list[tuple[int, int]], n_users: int, n_items: int) -> Tensor:
    a = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    for user, item in pairs:
        a[user, n_users + item] = a[n_users + item, user] = 1
    return a


def normalised(a: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2, D the sums of the rows; nodes of no degree keep their zeros."""
    degree = a.sum(1)
    scale = torch.diag(torch.where(degree > 0, degree, 1) ** -0.5)
    return scale @ a @ scale


def dense_light_gcn(adjacency: Tensor, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    powers = [torch.linalg.matrix_power(adjacency, n) for n in range(layers + 1)]
    mean = sum(power @ torch.cat([users, items]) for power in powers) / (layers + 1)
    return mean[: len(users)], mean[len(users) :]


def dense_knn(features: Tensor, k: int, absent: Tensor | None = None) -> Tensor:
    """The cosines of each item's k nearest (itself among them) and 0 elsewhere: (n, n). Item 0 and absent ones are left out."""
    lengths = features.norm(dim=1)
    cosine = (features @ features.T) / (lengths.unsqueeze(1) * lengths).clamp(min=1e-12)
    out = torch.zeros(len(features), len(features), dtype=torch.bool)
    here = [i for i in range(1, len(features)) if absent is None or not absent[i]]
    for i in here:
        nearest = sorted(here, key=lambda j: (-round(cosine[i, j].item() * 1e6), j))
        out[i, nearest[:k]] = True
    return torch.where(out, cosine, 0)


def slow_info_nce(a: np.ndarray, b: np.ndarray, nodes: list[int], temperature: float) -> float:
    """Of a batch's nodes, which are rows of a and b; what occurs twice is no negative of itself."""

    def similarity(row, other):
        return np.exp(a[row] @ b[other] / max(np.linalg.norm(a[row]) * np.linalg.norm(b[other]), 1e-12) / temperature)

    terms = []
    for node in nodes:
        others = sum(similarity(node, other) for other in nodes if other != node)
        terms.append(-np.log(similarity(node, node) / (similarity(node, node) + others)))
    return np.mean(terms)


def slow_bpr_and_norm(users: np.ndarray, items: np.ndarray, batch) -> tuple[float, float]:
    """The mean over a batch's triples of -log sigmoid(u . i - u . j), and of half the squared lengths of u, i and j."""
    bpr, norms = [], []
    for u, i, j in zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True):
        u, i, j = users[u], items[i], items[j]
        bpr.append(np.log1p(np.exp(u @ j - u @ i)))
        norms.append((u @ u + i @ i + j @ j) / 2)
    return np.mean(bpr), np.mean(norms)


def randomise(model) -> dict[str, Tensor]:
    """Random features, in place of those of a frozen encoder, and random parameters; in float64. Returns the features."""
    generator = torch.Generator().manual_seed(0)
    model.double()
    features = {}
    for m in model.item_features.modalities:
        rows = getattr(model.item_features, f"table_{m}")
        rows.copy_(torch.randn(rows.shape, generator=generator, dtype=rows.dtype))
        features[m] = rows.clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.3)
    return features


def check_scores(model) -> None:
    """Finite, and those of pairs are those of the full sort."""
    model.eval()
    users, items = torch.arange(model.n_users), torch.arange(model.n_items)
    with torch.no_grad():
        every = model.full_sort_predict({"user_id": users}).view(model.n_users, model.n_items)
        pairs = model.predict({"user_id": users.repeat_interleave(len(items)), "item_id": items.repeat(len(users))})
    assert torch.isfinite(every).all()
    torch.testing.assert_close(pairs.view_as(every), every)


def without_gradient(model, batch) -> set[str]:
    """The parameters that a first batch's loss does not reach."""
    model.train()
    model.start_epoch(0)
    model.zero_grad()
    sum(model.calculate_loss(batch)).backward()
    return {name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)}


def dense_user_graph(pairs: list[tuple[int, int]], n_users: int, k: int) -> Tensor:
    """Of each user, the softmax over the k largest counts of items in common; of equal counts, users of fewer items, then smaller ids."""
    own = [{item for user, item in pairs if user == u} for u in range(n_users)]
    out = torch.zeros(n_users, n_users, dtype=torch.float64)
    for u in range(n_users):
        others = [v for v in range(n_users) if v != u and own[u] & own[v]]
        nearest = sorted(others, key=lambda v: (-len(own[u] & own[v]), len(own[v]), v))[:k]
        if nearest:
            out[u, nearest] = torch.tensor([float(len(own[u] & own[v])) for v in nearest], dtype=torch.float64).softmax(0)
    return out


def dense_tower_items(layers, rows: Tensor) -> Tensor:
    """g_m (n, d): a linear map, leaky_relu with slope .01, a linear map."""
    hidden = rows @ layers[0].weight.T + layers[0].bias
    return torch.where(hidden > 0, hidden, 0.01 * hidden) @ layers[2].weight.T + layers[2].bias


def dense_tower(adjacency: Tensor, preferences: Tensor, items: Tensor, n_layers: int) -> Tensor:
    """T_m (n_users + n_items, d), the sum of the layers."""
    x = torch.cat([preferences, items])
    x = x / x.norm(dim=1, keepdim=True)
    return sum(torch.linalg.matrix_power(adjacency, n) @ x for n in range(n_layers + 1))


def dense_weighted_item_graph(model, features: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """FREEDOM's S."""
    graphs = {m: (dense_knn(rows, model.knn_k, ~model.item_features.present(m)) != 0).double() for m, rows in features.items()}
    return sum(weights[m] * normalised(graphs[m]) for m in features)
