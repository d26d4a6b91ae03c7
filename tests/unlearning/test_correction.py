"""A correction takes out of a model what it has learned by heart, and leaves the rest."""

import pytest
import torch

from recbole_mm.unlearning.correction import Corrector
from recbole_mm.unlearning.knowledge import Knowledge, Known
from recbole_mm.unlearning.reverse_loss import ReverseLoss
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


def test_the_forgotten_are_set_against_users_who_stay_and_have_the_item(memorised, monkeypatch):
    reverse, asked = corrector(memorised)._reversed, []
    monkeypatch.setattr(reverse, "_scores", lambda users, items: asked.append((users, items)) or torch.zeros(len(users)))
    reverse()
    ((users, items),) = asked
    kept = memorised.run.train_data._dataset.inter_feat
    had = set(zip(kept["user_id"].tolist(), kept["item_id"].tolist(), strict=True))
    others = list(zip(users[reverse.size :].tolist(), items[reverse.size :].tolist(), strict=True))
    owned = {item for _, item in had}
    assert not torch.isin(users[reverse.size :], memorised.forgotten.users).any() and any(item in owned for _, item in others)
    assert all(pair in had for pair in others if pair[1] in owned)
