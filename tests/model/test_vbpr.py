"""VBPR against its equations, one pair at a time."""

import numpy as np
import pytest
import torch

from recbole_mm.testing.planted import built


def parts(model, features: dict[str, np.ndarray]):
    """score(user, item) and the item's whole vector, from the model's weights."""
    weight = {name: p.detach().double().numpy() for name, p in model.named_parameters()}
    size = weight["item_embedding.weight"].shape[1]

    def vector(item):
        content = np.concatenate([rows[item] for rows in features.values()])
        return np.concatenate([weight["item_embedding.weight"][item], weight["project.weight"] @ content + weight["project.bias"]])

    def score(user, item):
        p, row = weight["user_embedding.weight"][user], vector(item)
        value = sum(p[d] * row[d] for d in range(2 * size))
        if "item_bias.weight" in weight:
            content = np.concatenate([rows[item] for rows in features.values()])
            value += weight["item_bias.weight"][item, 0] + weight["content_bias.weight"][0] @ content
        return value

    return score, vector, weight["user_embedding.weight"]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_score_and_loss_are_those_of_the_paper(planted_missing, training, use_bias, legacy):
    keys = {"encoder_training": training, "use_bias": use_bias, "legacy_norm": legacy, "reg_weight": 0.1, "train_batch_size": 30}
    _, model, train, *_ = built(planted_missing, "VBPR", **keys)
    model.double()
    if use_bias:
        for biases in (model.item_bias, model.content_bias):
            torch.nn.init.normal_(biases.weight)
    model.eval()
    with torch.no_grad():
        features = {m: rows.numpy() for m, rows in model.item_features.table().items()}
    score, vector, users = parts(model, features)
    batch = next(iter(train))
    triples = list(zip(*(batch[name].tolist() for name in ("user_id", "item_id", "neg_item_id")), strict=True))
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(batch), [score(u, i) for u, i, _ in triples], rtol=1e-6)
        everything = model.full_sort_predict(batch).view(len(triples), -1)
    np.testing.assert_allclose(everything[3], [score(triples[3][0], i) for i in range(model.n_items)], rtol=1e-6)
    bpr = np.mean([np.log1p(np.exp(score(u, j) - score(u, i))) for u, i, j in triples])
    squares = np.array([[np.sum(users[u] ** 2), np.sum(vector(i) ** 2), np.sum(vector(j) ** 2)] for u, i, j in triples])
    l2 = np.sqrt(squares.sum(0)).sum() / len(triples) if legacy else squares.sum(1).mean() / 2
    loss = model.calculate_loss(batch)
    assert loss[0].item() == pytest.approx(bpr, rel=1e-6) and loss[1].item() == pytest.approx(0.1 * l2, rel=1e-6)


def test_a_training_step_reads_the_features_of_the_batchs_items_alone(planted, monkeypatch):
    _, model, train, *_ = built(planted, "VBPR", train_batch_size=5)
    batch, asked = next(iter(train)), []
    projected = model.item_features.projected
    monkeypatch.setattr(model.item_features, "projected", lambda maps, ids, *more: asked.append(ids) or projected(maps, ids, *more))
    monkeypatch.setattr(model.item_features, "table", lambda *_: pytest.fail("the whole catalogue"))
    sum(model.calculate_loss(batch)).backward()
    wanted = torch.cat([batch["item_id"], batch["neg_item_id"]]).unique()
    assert len(asked) == 1 and asked[0].tolist() == wanted.tolist()
    touched = model.item_embedding.weight.grad.abs().sum(1).nonzero().squeeze(1)
    assert touched.tolist() == wanted.tolist()
