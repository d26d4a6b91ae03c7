"""Graph models end-to-end: the batch's items are encoded with gradient, the rest of the catalogue is the cache."""

import numpy as np
import pytest
import torch

from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.testing.planted import built

MODEL = "LightGCNM"


def slow_loss(model, train, batch, features: dict[str, torch.Tensor]) -> torch.Tensor:
    """LightGCN-M's equations, dense, from the catalogue's features."""
    n_users, n_items = model.n_users, model.n_items
    a = np.zeros((n_users + n_items,) * 2)
    interactions: MultiModalDataset = train.dataset.inter_feat
    for u, i in zip(interactions["user_id"].tolist(), interactions["item_id"].tolist(), strict=True):
        a[u, n_users + i] = a[n_users + i, u] = 1
    degree = np.maximum(a.sum(1), 1)
    a = torch.from_numpy(a / np.sqrt(np.outer(degree, degree)))
    projected = [model.project.maps[m](rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)) for m, rows in features.items()]
    ids = model.item_embedding.weight
    first_items = ids + sum(projected) if model.fusion == "sum" else torch.cat([ids, *projected], dim=1)
    layer = first = torch.cat([model.user_embedding.weight, first_items])
    final = layer
    for _ in range(model.n_layers):
        layer = a @ layer
        final = final + layer
    final = final / (model.n_layers + 1)
    losses, norms = [], []
    for u, i, j in zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True):
        i, j = n_users + i, n_users + j
        losses.append(-torch.nn.functional.logsigmoid(final[u] @ final[i] - final[u] @ final[j]))
        norms.append(sum(first[node] @ first[node] for node in (u, i, j)) / 2)
    return torch.stack(losses).mean() + model.reg_weight * torch.stack(norms).mean()


def encoded_at_once(model) -> dict[str, torch.Tensor]:
    """Every item of the catalogue by one encoder call, with gradient; padding as the model has it."""
    ids = torch.arange(1, model.n_items)
    content, encoder = model.item_features.content, model.item_features.encoder
    rows = encoder({"image": content.images(ids), "text": encoder.tokenize(content.texts(ids))})
    padding = {m: row[:1].detach() for m, row in model.item_features.table().items()}
    return {m: torch.cat([padding[m], rows[m]]) for m in rows}


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_with_every_item_in_the_batch_gradients_are_those_of_encoding_the_catalogue(planted, fusion):
    """In float64, dropout nowhere: the loss, and its gradient at every parameter, the encoder's among them."""
    _, model, train, *_ = built(planted, MODEL, train_batch_size=1000, fusion=fusion, reg_weight=0.1)
    model.double().train()
    batch = next(iter(train))
    assert len(torch.cat([batch["item_id"], batch["neg_item_id"]]).unique()) == model.n_items - 1
    loss = sum(model.calculate_loss(batch))
    loss.backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    slow = slow_loss(model, train, batch, encoded_at_once(model))
    torch.testing.assert_close(loss, slow, rtol=1e-6, atol=1e-9)
    slow.backward()
    encoder = {name for name in ours if name.startswith("item_features.encoder")}
    assert len(encoder) > 50
    for name, p in model.named_parameters():
        assert (p.grad is None) == (name not in ours), name
        if p.grad is not None:
            torch.testing.assert_close(ours[name], p.grad, rtol=1e-5, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    assert all(ours[name].abs().sum() > 0 for name in encoder if "logit_scale" not in name and "bias" not in name)


def test_items_outside_the_batch_are_those_of_the_cache_and_get_no_gradient(planted):
    _, model, train, *_ = built(planted, MODEL, train_batch_size=2)
    model.train()
    batch = next(iter(train))
    cached = {m: rows.clone() for m, rows in model.item_features.table().items()}
    with torch.no_grad():
        for p in model.encoder_parameters():
            p.mul_(1.1)
    fresh = torch.cat([batch["item_id"], batch["neg_item_id"]]).unique()
    rows = model.item_features.table(fresh_ids=fresh)
    rest = torch.tensor([i for i in range(model.n_items) if i not in fresh.tolist()])
    for m in rows:
        assert torch.equal(rows[m][rest], cached[m][rest])
        assert not torch.allclose(rows[m][fresh], cached[m][fresh])
        (gradient,) = torch.autograd.grad(rows[m][rest].sum(), model.encoder_parameters()[:1], allow_unused=True, retain_graph=True)
        assert gradient is None or not gradient.abs().any()
