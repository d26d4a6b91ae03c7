"""SLMRec against its equations, one row of a batch at a time."""

import math

import pytest
import torch

from recbole_mm.errors import InputError
from recbole_mm.quick_start import run
from recbole_mm.testing.planted import built, settings
from tests.model.dense import check_scores, dense_adjacency, dense_light_gcn, normalised, randomise, training_pairs, without_gradient

FROZEN = {"encoder_training": "pretrained"}
TASKS = ["FAC", "FD", "FM"]


def dense_branches(model, train, modalities: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """LightGCN of (U, I), (U, v), (U, t), ..."""
    adjacency = normalised(dense_adjacency(training_pairs(train), model.n_users, model.n_items))
    rows = [model.item_embedding.weight, *modalities]
    return [dense_light_gcn(adjacency, model.user_embedding.weight, of_items, model.n_layers) for of_items in rows]


def projected(model, features) -> list[torch.Tensor]:
    maps = model.project.maps
    return [rows / rows.norm(dim=1, keepdim=True) @ maps[m].weight.T + maps[m].bias for m, rows in features.items()]


def fused(model, branches) -> tuple[torch.Tensor, torch.Tensor]:
    users, items = (torch.cat(side, dim=1) for side in zip(*branches, strict=True))
    return (
        users @ model.fuse_users.weight.T + model.fuse_users.bias,
        items @ model.fuse_items.weight.T + model.fuse_items.bias,
    )


def slow_info_nce(a, b, temperature) -> float:
    def similarity(i, j):
        return (a[i] @ b[j] / (a[i].norm() * b[j].norm())).item() / temperature

    losses = [math.log(sum(math.exp(similarity(i, j)) for j in range(len(b)))) - similarity(i, i) for i in range(len(a))]
    return sum(losses) / len(losses)


def shared_batch(train) -> dict[str, torch.Tensor]:
    """A batch in which users and items come more than once."""
    batch = {name: next(iter(train))[name][:12].clone() for name in ("user_id", "item_id")}
    batch["item_id"][1] = batch["item_id"][0]
    batch["user_id"][3] = batch["user_id"][2]
    return batch


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_losses_are_those_of_the_paper(planted, task, legacy, monkeypatch):
    keys = {"ssl_task": task, "ssl_alpha": 0.5, "ssl_temp": 0.4, "reg_weight": 0.1, "dropout_rate": 0.0, "legacy_duplicates": legacy}
    _, model, train, *_ = built(planted, "SLMRec", **keys, **FROZEN)
    features, batch = randomise(model), shared_batch(train)
    users, items = batch["user_id"].tolist(), batch["item_id"].tolist()
    modalities = projected(model, features)
    branches = dense_branches(model, train, modalities)
    z_users, z_items = (z.detach() for z in fused(model, branches))
    nodes = items if legacy else sorted(set(items))
    if legacy:
        main = slow_info_nce(z_users[users], z_items[items], 0.2)
    else:
        main, own = 0, set(training_pairs(train))
        for user, item in zip(users, items, strict=True):
            cosine = torch.cosine_similarity(z_users[user], z_items, dim=-1) / 0.2
            allowed = [other for other in nodes if other == item or (user, other) not in own]
            main += (torch.logsumexp(cosine[allowed], 0) - cosine[item]).item() / len(users)

    masked = torch.arange(model.n_items).unsqueeze(1) % 2
    monkeypatch.setattr(torch, "randint", lambda *_, **__: masked)
    if task == "FAC":
        anchor, ssl = branches[0][1][nodes], 0
        for step, (_, of_items) in enumerate(branches[1:]):
            anchor = anchor @ model.onward[step].weight.T + model.onward[step].bias
            other = of_items[nodes] @ model.inward[step].weight.T + model.inward[step].bias
            ssl += slow_info_nce(anchor.detach(), other.detach(), 0.4)
    else:
        view = [torch.where(masked == m, 0, rows) for m, rows in enumerate(modalities)] if task == "FM" else modalities
        other = fused(model, dense_branches(model, train, view))[1].detach()
        ssl = slow_info_nce(z_items[nodes], other[nodes], 0.4)
    tables = (model.user_embedding.weight[users], model.item_embedding.weight[items])
    l2 = sum((rows**2).sum().item() for rows in tables) / (2 * len(users))
    ours = [loss.item() for loss in model.calculate_loss(batch)]
    assert ours == pytest.approx([main, 0.5 * ssl, 0.1 * l2], rel=1e-6)


@pytest.mark.parametrize("keys", [{}, {"rank_scores": "cosine"}], ids=str)
@pytest.mark.parametrize("earlier", [False, True], ids=["now", "earlier version"])
def test_it_ranks_by_dot_products_or_by_the_cosine_that_it_trains(planted, keys, earlier):
    """By the latter in runs of earlier versions, which had no feature_scaling."""
    config, model, train, *_ = built(planted, "SLMRec", **keys, **FROZEN)
    if earlier:
        config["feature_scaling"] = None
        model = type(model)(config, train.dataset)
    features, batch = randomise(model), next(iter(train))
    z_users, z_items = fused(model, dense_branches(model, train, projected(model, features)))
    pairs = z_users[batch["user_id"]], z_items[batch["item_id"]]
    wanted = torch.cosine_similarity(*pairs, dim=-1) if keys or earlier else (pairs[0] * pairs[1]).sum(-1)
    torch.testing.assert_close(model.predict(batch), wanted, rtol=1e-5, atol=1e-6)
    check_scores(model)


def test_legacy_scores_are_sigmoids_of_dot_products_and_tie(planted):
    _, model, train, *_ = built(planted, "SLMRec", legacy_scores=True, **FROZEN)
    features, batch = randomise(model), next(iter(train))
    z_users, z_items = fused(model, dense_branches(model, train, projected(model, features)))
    torch.testing.assert_close(model.predict(batch), torch.sigmoid((z_users[batch["user_id"]] * z_items[batch["item_id"]]).sum(-1)))
    check_scores(model)
    model.float()
    with torch.no_grad():
        model.fuse_users.weight *= 100
        assert (model.full_sort_predict(batch) == 1).sum() > 100


def test_two_draws_of_feature_dropout_differ_and_masking_hides_one_modality_of_each_item(planted):
    _, model, train, *_ = built(planted, "SLMRec", ssl_task="FD", dropout_rate=0.5, **FROZEN)
    batch, seen = next(iter(train)), []
    view = model._view
    model._view = lambda items, ids, modalities: seen.append(modalities) or view(items, ids, modalities)
    model.calculate_loss(batch)
    first, second = seen
    assert all(not torch.equal(a, b) and (a == 0).float().mean() > 0.4 for a, b in zip(first, second, strict=True))
    model.ssl_task = "FM"
    model.calculate_loss(batch)
    hidden = torch.stack([(rows == 0).all(dim=1) for rows in seen[2]])[:, 1:]
    assert (hidden.sum(0) == 1).all() and hidden.any(dim=1).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_every_parameter_that_trains_gets_a_gradient(planted_missing, training, task):
    _, model, train, *_ = built(planted_missing, "SLMRec", encoder_training=training, ssl_task=task)
    batch = next(iter(train))
    assert "neg_item_id" not in batch
    assert without_gradient(model, batch) <= {"item_features.encoder.model.logit_scale"}
    assert bool(model.encoder_parameters()) == (training == "end2end")


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("task", TASKS)
def test_it_finds_the_planted_preference(planted, task, modalities):
    keys = {"epochs": 12, "learning_rate": 0.02, "stopping_step": 20, "ssl_task": task, "modalities": modalities, **FROZEN}
    found = run("SLMRec", planted.name, config_dict=settings(planted, **keys), saved=False)["test_result"]["recall@10"]
    assert found > (0.7 if len(modalities) > 1 else 0.5)


def test_an_unknown_task_is_one_clear_line(planted):
    with pytest.raises(InputError, match="ssl_task 'FCA' is none of FAC, FD, FM"):
        built(planted, "SLMRec", ssl_task="FCA")
