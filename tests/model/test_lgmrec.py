"""LGMRec against its equations in dense matrices."""

import pytest
import torch
from torch.nn import functional

from recbole_mm.model.loss import table_nce
from recbole_mm.testing.planted import built
from tests.model.dense import check_scores, dense_adjacency, dense_light_gcn, normalised, randomise, training_pairs, without_gradient

FROZEN = {"encoder_training": "pretrained", "hyper_dropout": 0.0}


def no_noise(monkeypatch) -> None:
    monkeypatch.setattr(functional, "gumbel_softmax", lambda logits, tau: (logits / tau).softmax(-1))


def dense_lgmrec(model, pairs, features) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The final embeddings of users, then items, and each modality's hyperedge embeddings."""
    a = dense_adjacency(pairs, model.n_users, model.n_items)
    r, a = a[: model.n_users, model.n_users :], normalised(a)
    local = torch.cat(dense_light_gcn(a, model.user_embedding.weight, model.item_embedding.weight, model.n_layers))
    ids, views = local[model.n_users :], []
    for m, f in features.items():
        here = model.item_features.present(m).double().unsqueeze(1)
        v = f @ model.project.maps[m].weight.T
        modal = torch.cat([r @ v / r.sum(1, keepdim=True).clamp(min=1), v])
        for _ in range(model.n_modal_layers):
            modal = a @ modal
        local = local + modal / modal.norm(dim=1, keepdim=True).clamp(min=1e-12)
        h_items = f @ model.hyperedges.maps[m].weight.T * here
        h_users = r @ h_items
        h_items, h_users = ((h / model.temperature).softmax(1) for h in (h_items, h_users))
        g = ids
        for _ in range(model.n_hyper_layers):
            z = (h_items * here).T @ g
            g = (h_items * here) @ z
        views.append(torch.cat([h_users @ z, g]))
    spanning = sum(views)
    return local + model.alpha * spanning / spanning.norm(dim=1, keepdim=True).clamp(min=1e-12), views


def dense_contrast(a, b, ids, temperature) -> torch.Tensor:
    """One row of the batch at a time, against all rows but the padding."""
    losses = [(torch.cosine_similarity(a[i], b[1:], dim=-1) / temperature).log_softmax(0)[i - 1] for i in ids.tolist()]
    return -sum(losses) / len(losses)


@pytest.mark.parametrize(
    "keys", [{}, {"n_hyper_layers": 3, "n_modal_layers": 1, "n_layers": 3, "alpha": 0.7}, {"modalities": ["text"]}], ids=str
)
def test_embeddings_and_losses_are_those_of_dense_matrices(planted_missing, keys, monkeypatch):
    no_noise(monkeypatch)
    _, model, train, *_ = built(planted_missing, "LGMRec", **FROZEN, cl_weight=0.5, reg_weight=0.1, **keys)
    randomise(model)
    features, batch = model.item_features.centred(), next(iter(train))
    wanted, views = dense_lgmrec(model, training_pairs(train), features)
    torch.testing.assert_close(torch.cat(model.embed()), wanted, rtol=1e-5, atol=1e-6)
    users, items = wanted.split([model.n_users, model.n_items])
    u, i, j = users[batch["user_id"]], items[batch["item_id"]], items[batch["neg_item_id"]]
    bpr = -torch.log(torch.sigmoid((u * (i - j)).sum(1))).mean()
    contrast = torch.zeros(())
    if len(views) > 1:
        (a_users, a_items), (b_users, b_items) = (view.split([model.n_users, model.n_items]) for view in views)
        contrast = dense_contrast(a_users, b_users, batch["user_id"], 0.2) + dense_contrast(a_items, b_items, batch["item_id"], 0.2)
    norms = sum(rows.norm() for rows in (u, i, j)) / len(u)
    ours = torch.stack(model.calculate_loss(batch)).tolist()
    assert ours == pytest.approx([bpr.item(), 0.5 * contrast.item(), 0.1 * norms.item()], rel=1e-5)


def test_a_sample_of_a_table_stands_for_all_of_it():
    torch.manual_seed(0)
    a, b, ids = torch.randn(400, 8, dtype=torch.float64), torch.randn(400, 8, dtype=torch.float64), torch.tensor([3, 9, 3, 200])
    whole = table_nce(a, b, ids, 0.5, 400)
    assert whole.item() == pytest.approx(dense_contrast(a, b, ids, 0.5).item(), rel=1e-9)
    drawn = torch.stack([table_nce(a, b, ids, 0.5, 40) for _ in range(200)])
    assert drawn.std() > 1e-3 and drawn.mean().item() == pytest.approx(whole.item(), abs=0.02)


@pytest.mark.parametrize("legacy", [False, True])
def test_an_evaluation_is_without_noise_unless_it_is_that_of_the_public_code(planted, legacy):
    _, model, *_ = built(planted, "LGMRec", **FROZEN, legacy_noisy_evaluation=legacy)
    model.eval()
    assert torch.equal(model.embed()[0], model.embed()[0]) != legacy
    model.train()
    assert not torch.equal(model.embed()[0], model.embed()[0])
    check_scores(model)


@pytest.mark.parametrize("training", ["pretrained", "end2end"])
def test_every_parameter_that_trains_gets_a_gradient(planted_missing, training):
    _, model, train, *_ = built(planted_missing, "LGMRec", encoder_training=training)
    assert without_gradient(model, next(iter(train))) <= {"item_features.encoder.model.logit_scale"}
    check_scores(model)
