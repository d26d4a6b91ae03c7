"""GRCN against its equations in dense matrices, and a look at each user's and item's neighbours one by one."""

import pytest
import torch

from recbole_mm.testing.planted import built
from tests.model.dense import check_scores, dense_adjacency, randomise, training_pairs, without_gradient

FROZEN = {"encoder_training": "pretrained"}


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def attention(scores: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """The softmax of each row of a matrix over the places that are ``here``; rows without one keep zeros."""
    return torch.where(here, scores, -torch.inf).softmax(1).nan_to_num(0)


def dense_grcn(model, pairs, features, routing: int) -> torch.Tensor:
    n = model.n_users
    here = dense_adjacency(pairs, n, model.n_items) > 0
    contents, weights = [], []
    for place, (m, f) in enumerate(features.items()):
        mapped = f @ model.project[m].weight.T + model.project[m].bias
        c, p = unit(torch.where(mapped > 0, mapped, 0.01 * mapped)), unit(model.preferences[m].weight)
        for _ in range(routing):
            p = unit(p + attention(p @ c.T, here[:n, n:]) @ c)
        x = torch.cat([p, c])
        a = attention(x @ x.T, here)
        contents.append(x + a @ x)
        weights.append(a * model.confidence[:, place])
    w = torch.stack(weights).amax(0)
    w = w.clamp(min=0) if model.hard else w
    x0 = unit(torch.cat([model.user_embedding.weight, model.item_embedding.weight]))
    return torch.cat([x0 + w @ x0 + w @ w @ x0, *contents], dim=1)


@pytest.mark.parametrize(
    "keys",
    [{}, {"pruning": "hard", "n_routing": 1}, {"legacy_no_routing": True}, {"modalities": ["text"]}],
    ids=str,
)
def test_embeddings_loss_and_gradients_are_those_of_dense_matrices(planted_missing, keys):
    _, model, train, *_ = built(planted_missing, "GRCN", **FROZEN, reg_weight=0.1, **keys)
    randomise(model)
    batch, routing = next(iter(train)), 0 if "legacy_no_routing" in keys else keys.get("n_routing", 3)
    losses = model.calculate_loss(batch)
    sum(losses).backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    wanted = dense_grcn(model, training_pairs(train), model.item_features.centred(), routing)
    torch.testing.assert_close(torch.cat(model.embed()), wanted, rtol=1e-6, atol=1e-9)
    users, items = wanted.split([model.n_users, model.n_items])
    u, i, j = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    bpr = -torch.log(torch.sigmoid((u * (i - j)).sum(1))).mean()
    pair = torch.cat([model.item_embedding(batch["item_id"]), model.item_embedding(batch["neg_item_id"])])
    squares = (model.user_embedding(batch["user_id"]).repeat(2, 1) ** 2 + pair**2).mean()
    squares = squares + sum((table(batch["user_id"]) ** 2).mean() for table in model.preferences.values())
    assert [loss.item() for loss in losses] == pytest.approx([bpr.item(), 0.1 * squares.item()], rel=1e-6)
    (bpr + 0.1 * squares).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_every_parameter_that_trains_gets_a_gradient(planted_missing, training):
    _, model, train, *_ = built(planted_missing, "GRCN", encoder_training=training)
    assert without_gradient(model, next(iter(train))) <= {"item_features.encoder.model.logit_scale"}
    check_scores(model)
