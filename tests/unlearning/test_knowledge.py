"""What a model knows of the forgotten, for models that have learned them by heart and models that have never seen them."""

import math

import pytest
import torch

from recbole_mm.unlearning.kept import kept_run
from recbole_mm.unlearning.knowledge import Knowledge, Known
from recbole_mm.unlearning.questions import Side, halves
from tests.training.moving_shop import draw_shop, train
from tests.unlearning.forgetting import forgotten_of
from tests.unlearning.memorised import Memorised
from tests.unlearning.test_kept import SEQUENCES


@pytest.fixture
def memorised(tmp_path) -> Memorised:
    return Memorised.draw(tmp_path / "data")


def test_who_knows_as_much_as_is_to_be_expected_has_no_excess():
    assert Known(0.2, 0.2, 0.45, 0.45).excess == 0
    assert Known(0.4, 0.2, 0.5, 0.5).excess == pytest.approx(math.log(2) / 2)
    assert Known(0.2, 0.2, 0.6, 0.5).excess == pytest.approx(math.log(0.6 / 0.4) / 2)
    assert Known(0.1, 0.2, 0.4, 0.5).excess < 0
    assert math.isfinite(Known(0.0, 0.2, 0.0, 1.0).excess)


def test_halves_are_of_each_user():
    pairs = torch.tensor([(1, 5), (1, 6), (1, 7), (2, 5), (3, 1), (3, 2), (3, 2)])
    first, second = halves(pairs, torch.Generator().manual_seed(0))
    assert sorted(map(tuple, torch.cat([first, second]).tolist())) == [(1, 5), (1, 6), (1, 7), (3, 1), (3, 2)]
    assert first[:, 0].tolist() == [1, 1, 3] and second[:, 0].tolist() == [1, 3]


def test_histories_are_told_in_the_order_of_time(tmp_path):
    """And end before validation and test, of which each user has one item."""
    shop = draw_shop(tmp_path / "data")
    had = {user: [item for own, item, _ in shop.orders if own == user][:-2] for user in ("u3", "u5")}
    file = train("SASRec", shop, epochs=1, **SEQUENCES)
    forgotten = forgotten_of(file, ("u3",), interactions=(("u5", had["u5"].pop(1)),))
    run = kept_run(str(file), forgotten)
    strangers, others = (questions for questions, _ in Side(run, forgotten, of_items=False).asked)
    told, known = ([run.dataset.id2token("item_id", int(item)) for item in one.known[0]] for one in (strangers, others))
    assert told == [item for item in had["u3"] if item in told] and len(told) == 4
    assert known == had["u5"]


def test_strangers_are_asked_for_the_other_half_of_what_they_had(memorised):
    side, forgotten = Side(memorised.run, memorised.forgotten, of_items=False), memorised.forgotten
    ((questions, controls),) = side.asked
    assert questions.strangers and torch.equal(questions.ids, forgotten.users)
    for place, user in enumerate(forgotten.users):
        learned, unseen = (pairs[pairs[:, 0] == user, 1] for pairs in map(forgotten.pairs_of, ("training", "valid")))
        known, sought = set(questions.known[place].tolist()), set(questions.sought[place].tolist())
        assert known | sought == set(learned.tolist()) and not known & sought and abs(len(known) - len(sought)) <= 1
        assert set(questions.unseen["valid"][place].tolist()) == set(unseen.tolist())
    assert not torch.isin(controls.ids, forgotten.users).any() and len(controls) == 36


def test_a_model_that_has_learned_users_by_heart_is_found_out(memorised):
    knowledge = Knowledge(memorised.run, memorised.forgotten)
    heart = knowledge.of(memorised.plant(heart=6.0).run.model.eval())
    assert heart.told_apart > 0.95 and heart.recall > 0.8 and heart.excess > 1
    stranger = knowledge.of(memorised.plant(heart=0.0).run.model.eval())
    assert 0.3 < stranger.told_apart < 0.7 and stranger.recall < 0.3
    assert heart.chance == stranger.chance
    assert knowledge.of(memorised.plant(heart=6.0).run.model.eval(), "test").told_apart > 0.95
