"""CLIPRec is really trained end-to-end: its gradients at the encoder are those of its loss."""

import pytest
import torch

from recbole_mm.model.base import UserPositives
from tests.planted import built


def batch_of(loader):
    return next(iter(loader))


@pytest.mark.parametrize("keys", [{"loss_type": "SSM"}, {"loss_type": "BPR"}, {"use_id": False}], ids=str)
def test_encoder_gradients_equal_finite_differences(planted, keys):
    """In float64, at both towers, of recommendation loss + contrastive loss."""
    _, model, train, *_ = built(planted, train_batch_size=32, contrastive_weight=0.3, id_dropout=0.0, **keys)
    model.double()
    batch = batch_of(train)
    sum(model.calculate_loss(batch)).backward()
    clip = model.item_features.encoder.model
    towers = {
        "image": [clip.visual.conv1.weight, clip.visual.transformer.resblocks[0].mlp.c_fc.weight, clip.visual.proj],
        "text": [clip.transformer.resblocks[0].attn.in_proj_weight, clip.transformer.resblocks[1].mlp.c_proj.weight, clip.ln_final.bias],
    }
    generator = torch.Generator().manual_seed(0)
    for parameters in towers.values():
        for parameter in parameters:
            direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            direction /= direction.norm()
            step, losses = 1e-5, []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.add_(sign * step * direction)
                    losses.append(sum(model.calculate_loss(batch)).item())
                    parameter.sub_(sign * step * direction)
            slope = (losses[0] - losses[1]) / (2 * step)
            assert abs(slope) > 1e-7
            assert slope == pytest.approx((parameter.grad * direction).sum().item(), rel=1e-5, abs=1e-10)


def test_the_contrastive_term_is_over_the_distinct_items_that_have_both(planted_missing):
    _, model, train, *_ = built(planted_missing, contrastive_weight=1.0)
    batch = batch_of(train)
    distinct = batch["item_id"].unique()
    both = distinct[model.item_features.present("image")[distinct] & model.item_features.present("text")[distinct]]
    assert 2 < len(both) < len(distinct)
    wanted = model.item_features.encoder.contrastive_loss(model.item_features(both))
    torch.testing.assert_close(model.calculate_loss(batch)[-1], wanted)
    assert len(built(planted_missing, contrastive_weight=0.0)[1].calculate_loss(batch)) == 2


def test_other_positives_of_the_user_are_no_negatives(planted):
    _, model, train, *_ = built(planted)
    interactions = train.dataset.inter_feat
    pairs = set(zip(interactions["user_id"].tolist(), interactions["item_id"].tolist(), strict=True))
    users, items = torch.arange(model.n_users), torch.arange(model.n_items)
    known = model.positives.among(users, items)
    assert {(u, i) for u, i in known.nonzero().tolist()} == pairs


def test_user_positives_survive_ids_at_the_edges():
    positives = UserPositives(torch.tensor([5, 5]).numpy(), torch.tensor([9, 0]).numpy(), n_items=10)
    among = positives.among(torch.tensor([0, 5, 6]), torch.tensor([9, 0]))
    assert among.tolist() == [[False, False], [True, True], [False, False]]


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
    torch.testing.assert_close(scores, model.user_embedding.weight[batch["user_id"]] @ model.item_embedding.weight.T)
    assert {name for name, _ in model.named_parameters()} == {"user_embedding.weight", "item_embedding.weight"}
