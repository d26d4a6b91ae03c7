"""The recommendation losses, against what their papers' equations give one interaction at a time."""

import math

import pytest
import torch
from torch.nn import functional

from recbole_mm.model import OUR_MODELS, get_model
from recbole_mm.model.objective import LOSSES, ObjectiveRecommender
from recbole_mm.testing.planted import built

MODELS = [n for n in OUR_MODELS if "calculate_loss" in vars(get_model(n)) and issubclass(get_model(n), ObjectiveRecommender)]


@pytest.fixture(scope="module")
def make(planted):
    def made(**keys):
        _, model, train, *_ = built(planted, "VBPR", train_batch_size=32, **keys)
        return model, train, next(iter(train))

    return made


def slow_loss(model, train, batch, rows, loss_type: str, cosine: bool, temperature: float) -> float:
    """The loss in double precision, an interaction at a time, with the item rows of ``batch.items``."""
    users, items = model.user_embedding.weight.double(), dict(zip(batch.items.tolist(), rows.double(), strict=True))
    pairs = list(zip(batch.users.tolist(), batch.items[batch.positives].tolist(), strict=True))
    data = train.dataset.inter_feat
    known = set(zip(data["user_id"].tolist(), data["item_id"].tolist(), strict=True))
    popularity = torch.bincount(data["item_id"], minlength=model.n_items) / len(data)

    def score(u, i):
        a, b = users[u], items[i]
        return float(a @ b / (a.norm() * b.norm() if cosine else 1)) / temperature

    losses = []
    for n, (u, i) in enumerate(pairs):
        own = score(u, i)
        if loss_type == "BPR":
            losses.append(-math.log(1 / (1 + math.exp(score(u, batch.items[batch.negatives[n]].item()) - own))))
            continue
        if loss_type == "SSM":
            others = [(j, math.log(1 - (1 - float(popularity[j])) ** len(pairs))) for j in items if j != i and (u, j) not in known]
            own -= math.log(1 - (1 - float(popularity[i])) ** len(pairs))
        else:
            others = [(j, 0.0) for j in batch.items[batch.negatives].tolist() if (u, j) not in known]
        losses.append(math.log(math.exp(own) + sum(math.exp(score(u, j) - log_q) for j, log_q in others)) - own)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("loss_type", ["BPR", "SSM", "sampled_softmax"])
@pytest.mark.parametrize(("scores", "temperature"), [("dot", 1.0), ("cosine", 0.2)])
def test_losses_of_scores(make, loss_type, scores, temperature):
    model, train, interaction = make(loss_type=loss_type, loss_scores=scores, loss_temperature=temperature, loss_negatives=7)
    with torch.no_grad():
        model.user_embedding.weight.mul_(3)
    batch = model.objective.batch(interaction)
    rows, _ = model._items(batch.items, model.item_features(batch.items))
    ours = batch.loss(model.user_embedding(batch.users), rows).item()
    assert ours == pytest.approx(slow_loss(model, train, batch, rows, loss_type, scores == "cosine", temperature), rel=1e-4)


def test_alignment_and_uniformity(make):
    model, _, interaction = make(loss_type="DirectAU", loss_uniformity=0.7)
    batch = model.objective.batch(interaction)
    rows, _ = model._items(batch.items, model.item_features(batch.items))
    users, items = (functional.normalize(x.double(), dim=-1) for x in (model.user_embedding.weight, rows))

    def uniformity(x):
        return torch.pdist(x).pow(2).mul(-2).exp().mean().log()

    alignment = (users[batch.users] - items[batch.positives]).pow(2).sum(-1).mean()
    wanted = alignment + 0.7 * (uniformity(users[batch.users.unique()]) + uniformity(items)) / 2
    assert len(batch.users.unique()) < len(batch.users), "the batch has a user twice"
    assert batch.loss(model.user_embedding(batch.users), rows).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_single_row_is_uniform(make):
    model, *_ = make(loss_type="DirectAU")
    one = {"user_id": torch.tensor([1, 1]), "item_id": torch.tensor([2, 2])}
    batch = model.objective.batch(one)
    loss = batch.loss(torch.eye(2)[[0, 0]], torch.eye(2)[:1])
    assert loss == 0


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_negatives_are_drawn_as_asked(make, distribution):
    model, train, interaction = make(loss_type="sampled_softmax", loss_distribution=distribution, loss_negatives=200_000)
    batch = model.objective.batch(interaction)
    counts = torch.bincount(batch.items[batch.negatives], minlength=model.n_items).double()
    wanted = torch.ones(model.n_items).double()
    if distribution == "popularity":
        wanted = torch.bincount(train.dataset.inter_feat["item_id"], minlength=model.n_items).double()
    wanted[0] = 0
    expected = wanted / wanted.sum() * 200_000
    chi_square = ((counts - expected)[1:].pow(2) / expected[1:].clamp(min=1e-9)).sum()
    freedom = model.n_items - 2
    assert counts[0] == 0 and chi_square < freedom + 5 * math.sqrt(2 * freedom)


def test_ranking_by_cosine(make):
    dot, _, _ = make()
    cosine, _, _ = make(rank_scores="cosine")
    cosine.load_state_dict(dot.state_dict())
    with torch.no_grad():
        users, items = dot.eval().final_embeddings()
        wanted = functional.normalize(users, dim=-1) @ functional.normalize(items, dim=-1).T
        ours = cosine.eval().full_sort_predict({"user_id": torch.arange(dot.n_users)}).view(dot.n_users, -1)
    torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize("model_name", MODELS)
def test_every_model_learns_by_every_loss(model_name, planted):
    """One step lowers the loss of its batch, and moves the user embeddings."""
    for loss_type in LOSSES:
        _, model, train, *_ = built(
            planted, model_name, train_batch_size=64, loss_type=loss_type, loss_negatives=16, encoder_training="pretrained"
        )
        batch = next(iter(train))
        model.start_epoch(0)
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
        torch.manual_seed(0)
        losses = model.calculate_loss(batch)
        sum(losses).backward()
        moved = [p for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
        optimiser.step()
        torch.manual_seed(0)
        assert moved and sum(model.calculate_loss(batch)) < sum(losses), loss_type
