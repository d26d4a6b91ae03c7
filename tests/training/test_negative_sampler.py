"""No user gets an item of their own, and the others come as often as RecBole's distributions say."""

import numpy as np
import pytest
import torch
from recbole.sampler import Sampler
from scipy.stats import chi2_contingency, chisquare

from recbole_mm.errors import InputError
from recbole_mm.testing.planted import built
from recbole_mm.training.negative_sampler import NegativeSampler, popularity_weights, uniform_weights

USERS = torch.tensor([1, 1, 1, 2, 2, 2, 2, 2, 3, 3])
ITEMS = torch.tensor([1, 2, 3, 1, 2, 4, 5, 6, 7, 7])
"""Three users and seven items; user 2 has five of them, user 3 has one twice. User 4 has none."""
POPULARITY = popularity_weights(ITEMS, 8, 5, 0.75)


def drawn(weights: torch.Tensor, user: int, n: int = 20_000) -> torch.Tensor:
    """How often each item was drawn for a user, int64 (items,)."""
    sampler = NegativeSampler(USERS, ITEMS, 5, weights, list("-abcd"))
    return torch.bincount(sampler.draw(torch.full((n,), user), torch.Generator().manual_seed(0)), minlength=8)


@pytest.mark.parametrize("user", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "weights",
    [uniform_weights(torch.arange(1, 8), 8), uniform_weights(torch.tensor([2, 3, 5, 7]), 8), POPULARITY],
    ids=["uniform", "some items", "popularity"],
)
def test_negatives_are_the_others_by_their_weight(user, weights):
    wanted = weights.double()
    wanted[ITEMS[user == USERS]] = 0
    counts = drawn(weights, user)
    assert not counts[wanted == 0].any()
    wanted = wanted[wanted > 0] / wanted.sum() * counts.sum()
    assert len(wanted) == 1 or chisquare(counts[counts > 0], wanted).pvalue > 1e-3


def test_popularity_is_the_number_of_interactions_to_a_power():
    shares = POPULARITY.double() / POPULARITY.sum()
    counts = np.array([0, 2, 2, 1, 1, 1, 1, 2])
    np.testing.assert_allclose(shares, np.where(counts > 0, counts**0.75, 0) / (counts[counts > 0] ** 0.75).sum(), atol=1e-12)
    assert 2**55 < int(POPULARITY.sum()) < 2**63 // 6


def test_a_user_with_all_items_but_one_gets_that_one():
    n = 3000
    sampler = NegativeSampler(torch.ones(n - 2, dtype=torch.int64), torch.arange(1, n - 1), 2, uniform_weights(torch.arange(1, n), n), "-a")
    assert sampler.draw(torch.ones(50, dtype=torch.int64), torch.Generator().manual_seed(0)).unique().tolist() == [n - 1]


def test_a_user_with_all_items_is_named():
    with pytest.raises(InputError, match=r"1 users have every item that could be a negative \(b\): filter them out"):
        NegativeSampler(USERS, ITEMS, 5, uniform_weights(torch.tensor([1, 2, 4, 5, 6]), 8), list("-abcd"))


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_the_distribution_is_that_of_recboles_sampler(shop, distribution):
    arguments = {"distribution": distribution, "sample_num": 1, "alpha": 0.5}
    _, _, train, valid, test = built(shop, "BPR", train_neg_sample_args=arguments)
    phases, parts = ["train", "valid", "test"], [loader._dataset for loader in (train, valid, test)]
    recboles = Sampler(phases, parts, distribution, alpha=0.5).set_phase("train")
    np.random.seed(0)
    for user in (1, 2):
        asked = torch.full((6000,), user)
        ours = torch.bincount(train.negatives.draw(asked, train.generator), minlength=parts[0].item_num)
        theirs = torch.bincount(recboles.sample_by_key_ids(asked.numpy(), 1), minlength=parts[0].item_num)
        seen = (ours + theirs) > 0
        assert not seen[list(recboles.used_ids[user])].any()
        assert chi2_contingency(torch.stack([ours, theirs])[:, seen]).pvalue > 1e-3
