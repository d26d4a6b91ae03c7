"""CLIPRec's loss is its equations."""

import math

import pytest
import torch

from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built


def batch_of(loader):
    return next(iter(loader))


def test_the_contrastive_term_is_over_the_distinct_items_that_have_both_and_spares_those_that_share_one(planted_missing):
    _, model, train, *_ = built(planted_missing, contrastive_weight=1.0)
    batch = batch_of(train)
    distinct = batch["item_id"].unique()
    both = distinct[model.item_features.present("image")[distinct] & model.item_features.present("text")[distinct]]
    assert 2 < len(both) < len(distinct)
    texts = model.item_features.content.texts(both)
    same = torch.tensor([[a == b for a in texts] for b in texts])
    assert len(both) < same.sum() < len(both) ** 2
    wanted = model.item_features.encoder.contrastive_loss(model.item_features(both), same)
    torch.testing.assert_close(model.calculate_loss(batch)[-1], wanted)
    assert len(built(planted_missing, contrastive_weight=0.0)[1].calculate_loss(batch)) == 2


def test_other_positives_of_the_user_are_no_negatives(planted):
    _, model, train, *_ = built(planted)
    interactions = train.dataset.inter_feat
    pairs = set(zip(interactions["user_id"].tolist(), interactions["item_id"].tolist(), strict=True))
    users, items = torch.arange(model.n_users), torch.arange(model.n_items)
    known = model.objective.known.among(users, items)
    assert {(u, i) for u, i in known.nonzero().tolist()} == pairs


def test_id_dropout_only_in_training_and_only_hides_ids(planted):
    _, model, train, *_ = built(planted, id_dropout=0.9, contrastive_weight=0.0)
    batch = batch_of(train)
    model.eval()
    assert model.calculate_loss(batch)[0] == model.calculate_loss(batch)[0]
    model.train()
    assert model.calculate_loss(batch)[0] != model.calculate_loss(batch)[0]
    _, content_only, train, *_ = built(planted, id_dropout=0.9, use_id=False, contrastive_weight=0.0)
    assert content_only.calculate_loss(batch)[0] == content_only.calculate_loss(batch)[0]


def test_without_content_it_is_matrix_factorisation(planted):
    _, model, train, *_ = built(planted, modalities=[], id_dropout=0.0)
    batch = batch_of(train)
    scores = model.full_sort_predict(batch).view(len(batch), -1)
    users = model.user_embedding.common + model.user_embedding.weight[batch["user_id"]]
    torch.testing.assert_close(scores, users @ model.item_embedding.weight.T)
    assert {name for name, _ in model.named_parameters()} == {"user_embedding.weight", "user_embedding.common", "item_embedding.weight"}


def test_what_users_share_learns_from_every_interaction_and_is_not_regularised(planted):
    _, model, train, *_ = built(planted, use_id=True)
    recommendation, regularisation, _ = model.calculate_loss(batch_of(train))
    for table in (model.user_embedding, model.user_content):
        own, common = torch.autograd.grad(recommendation, (table.weight, table.common), retain_graph=True)
        torch.testing.assert_close(common, own.sum(0), rtol=1e-4, atol=1e-7)
        assert torch.autograd.grad(regularisation, table.common, retain_graph=True, allow_unused=True) == (None,)


@pytest.mark.parametrize("keys", [{"loss_type": "SSM"}, {"loss_type": "BPR"}], ids=str)
def test_loss_and_gradients_are_those_of_encoding_every_occurrence(planted, keys):
    """Against the model's equations, written for one pair at a time, with an encoder call for every occurrence of an item."""
    _, model, train, *_ = built(planted, contrastive_weight=0.0, id_dropout=0.0, train_batch_size=6, **keys)
    model.double()
    batch = batch_of(train)
    users, items = batch["user_id"], batch["item_id"]
    loss = model.calculate_loss(batch)[0]
    loss.backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    def score(user, item):
        content, encoder = model.item_features.content, model.item_features.encoder
        rows = encoder({"image": content.images([item]), "text": encoder.tokenize(content.texts([item]))})
        fused = model.project(torch.cat([torch.nn.functional.normalize(rows[m][0], dim=0) for m in ("image", "text")]))
        by_ids, by_content = (table.common + table.weight[user] for table in (model.user_embedding, model.user_content))
        return by_ids @ model.item_embedding.weight[item] + by_content @ fused

    losses = []
    if keys["loss_type"] == "BPR":
        for user, item, other in zip(users.tolist(), items.tolist(), batch["neg_item_id"].tolist(), strict=True):
            losses.append(-torch.nn.functional.logsigmoid(score(user, item) - score(user, other)))
    else:
        interactions = train.dataset.inter_feat
        known = set(zip(interactions["user_id"].tolist(), interactions["item_id"].tolist(), strict=True))
        share = {i: (interactions["item_id"] == i).double().mean().item() for i in set(items.tolist())}
        for user, item in zip(users.tolist(), items.tolist(), strict=True):
            allowed = [i for i in share if i == item or (user, i) not in known]
            logits = {i: score(user, i) - math.log(1 - (1 - share[i]) ** len(items)) for i in allowed}
            losses.append(torch.logsumexp(torch.stack(list(logits.values())), 0) - logits[item])
    slow = torch.stack(losses).mean()
    torch.testing.assert_close(loss, slow, rtol=1e-6, atol=1e-8)
    slow.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_one_epoch_changes_both_towers(planted):
    config, model, train, *_ = built(planted)
    clip = model.item_features.encoder.model
    towers = {"image": clip.visual, "text": clip.transformer}
    start = {name: [p.detach().clone() for p in tower.parameters()] for name, tower in towers.items()}
    build_trainer(config, model)._train_epoch(train, 0)
    for name, tower in towers.items():
        assert all(not torch.equal(a, b) for a, b in zip(start[name], tower.parameters(), strict=True)), name
