"""A correction takes out of a model what it has learned by heart, and leaves the rest."""

from dataclasses import replace

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_mm.unlearning.correction import Corrector
from recbole_mm.unlearning.kept import kept_run
from recbole_mm.unlearning.knowledge import Knowledge, Known
from recbole_mm.unlearning.reverse_loss import ReverseLoss
from tests.training.moving_shop import draw_shop, train
from tests.unlearning.forgetting import forgotten_of
from tests.unlearning.memorised import Memorised


@pytest.fixture
def memorised(tmp_path) -> Memorised:
    return Memorised.draw(tmp_path / "data")


def corrector(memorised: Memorised) -> Corrector:
    return Corrector(memorised.run, memorised.forgotten, Knowledge(memorised.run, memorised.forgotten))


def test_what_was_learned_by_heart_goes(memorised):
    model = memorised.plant(heart=3.0).run.model
    corrects, rows = corrector(memorised), model.user_embedding.weight.detach()[memorised.forgotten.users].clone()
    before = corrects.knowledge.of(model.eval())
    done = corrects.correct()
    after = corrects.knowledge.of(model.eval())
    assert after == done.known and after.excess < before.excess / 2 and after.told_apart < before.told_apart - 0.1
    assert done.weight is not None and done.steps > 0
    torch.testing.assert_close(model.user_embedding.weight[memorised.forgotten.users], rows, rtol=0, atol=0)


def test_a_model_that_knows_nothing_stays_as_it_is(memorised, monkeypatch):
    monkeypatch.setattr(Knowledge, "of", lambda *_: Known(recall=0.1, expected=0.2, told_apart=0.5, chance=0.5))
    model = memorised.run.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    done = corrector(memorised).correct()
    assert done.known.excess <= 0 and done.weight is None and done.steps == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_correction(memorised):
    found = []
    for _ in range(2):
        memorised.plant(heart=3.0)
        corrector(memorised).correct()
        found.append({name: value.clone() for name, value in memorised.run.model.state_dict().items()})
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_the_reverse_loss_lowers_what_the_forgotten_have_alone(memorised):
    memorised.plant(heart=3.0)
    weight = memorised.run.model.item_embedding.weight
    ReverseLoss(memorised.run, memorised.forgotten)().backward()
    step = -weight.grad
    own = memorised.forgotten.pairs_of("training")
    for user in memorised.forgotten.users:
        row = memorised.run.model.user_embedding.weight.detach()[user]
        items = own[own[:, 0] == user, 1]
        assert float((step[items] @ row).mean()) < 0  # their scores fall


def test_the_forgotten_are_set_against_users_who_stay_and_have_the_item(memorised):
    kept = memorised.run.train_data._dataset.inter_feat
    had = set(zip(kept["user_id"].tolist(), kept["item_id"].tolist(), strict=True))
    items = memorised.forgotten.learned[:, 1]
    others = corrector(memorised)._reversed._owners_of(items)
    pairs, owned = list(zip(others.tolist(), items.tolist(), strict=True)), {item for _, item in had}
    assert not torch.isin(others, memorised.forgotten.users).any() and any(item in owned for _, item in pairs)
    assert all(pair in had for pair in pairs if pair[1] in owned)


def test_users_who_go_are_asked_for_by_half_of_what_they_had(memorised):
    """Against the same by hand: whoever is told, the mean of their vectors goes through the map."""
    strangers, model = ReverseLoss(memorised.plant(heart=3.0).run, memorised.forgotten).strangers, memorised.run.model
    items, asked = model.item_embedding.weight, []
    torch.manual_seed(3)
    found = strangers.beside_others(1000, lambda items: asked.append(items) or torch.full_like(items, 2))
    weights, users = strangers._known
    own = memorised.forgotten.learned.unique(dim=0)
    sizes = torch.bincount(own[:, 0])[memorised.forgotten.users]
    assert torch.equal(users[1:], model.user_embedding.weight[1:]) and len(found) == int((sizes // 2).sum())
    expected, sought = [], asked[0].tolist()
    torch.manual_seed(3)
    drawn = (strangers.rows + torch.rand(len(own), dtype=torch.float64)).argsort()
    order = torch.randperm(len(found))
    for place in drawn[~strangers.told][order].tolist():
        told = [p for p in drawn[strangers.told].tolist() if strangers.users[p] == strangers.users[place]]
        vector = torch.cat([items[strangers.items[told]].mean(0), torch.ones(1)]) @ weights
        expected.append((vector - users[2]) @ items[strangers.items[place]])
    torch.testing.assert_close(found, torch.stack(expected))
    assert sought == strangers.items[drawn[~strangers.told][order]].tolist()


@pytest.mark.parametrize("name", ["BPR", "LightGCN", "VBPR"])
def test_the_vectors_of_items_are_those_of_the_model_and_have_a_gradient(tmp_path, name):
    file = train(name, draw_shop(tmp_path / "data"), epochs=1)
    forgotten = forgotten_of(file, ("u3", "u8"))
    run = kept_run(str(file), forgotten)
    strangers = ReverseLoss(run, forgotten).strangers
    vectors = strangers._item_vectors(strangers.items)
    _, users = strangers._known
    run.model.eval()
    scores = run.model.full_sort_predict(run.dataset.join(Interaction({"user_id": torch.tensor([1, 2])}))).view(2, -1)
    torch.testing.assert_close(users[[1, 2]] @ vectors.T, scores)
    vectors.sum().backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in run.model.parameters())


def test_who_had_one_item_is_asked_for_by_their_row(memorised):
    forgotten = memorised.forgotten
    own = forgotten.learned[forgotten.learned[:, 0] == forgotten.users[0]]
    reverse = ReverseLoss(memorised.run, replace(forgotten, learned=own[:1]))
    assert reverse.strangers is None and torch.equal(reverse.pairs, own[:1]) and torch.isfinite(reverse())
