"""The statistics equal those of scipy and statsmodels, and intervals cover as often as they say."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recbole_mm.errors import InputError
from recbole_mm.results.statistics import bootstrap_interval, compare_records, compare_users, compare_values, holm, p_of_t, p_of_wilcoxon

BEFORE = np.array([125, 115, 130, 140, 140, 115, 140, 125, 140, 135], dtype=float)
AFTER = np.array([110, 122, 125, 120, 140, 124, 123, 137, 135, 145], dtype=float)
"""The example of Wikipedia's page on Wilcoxon's signed-rank test: W = 18 (of the smaller sum), without the one pair that is equal."""


def test_the_paired_tests_are_those_of_scipy():
    found = compare_values("recall@20", AFTER, BEFORE)
    assert found.p_t == pytest.approx(stats.ttest_rel(AFTER, BEFORE).pvalue, rel=1e-12)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(AFTER, BEFORE).pvalue, rel=1e-12) and stats.wilcoxon(AFTER, BEFORE)[0] == 18
    assert (found.n_users, found.mean, found.reference) == (10, 128.1, 130.5) and found.difference == pytest.approx(-2.4)
    assert found.interval[0] < -2.4 < found.interval[1]


@pytest.mark.parametrize("differences", [np.zeros(5), np.array([0.0]), np.zeros(1000)])
def test_models_that_do_not_differ_have_p_1(differences):
    assert p_of_t(differences) == p_of_wilcoxon(differences) == 1.0
    assert bootstrap_interval(differences) == (0.0, 0.0)


def test_one_user_says_nothing_and_a_constant_difference_much():
    assert p_of_t(np.array([0.3])) == 1.0 and p_of_wilcoxon(np.array([0.3])) == 1.0
    assert p_of_t(np.full(30, 0.25)) == pytest.approx(0) and p_of_wilcoxon(np.full(30, 0.25)) < 1e-5


def test_holm_by_hand():
    """Four tests: .01 * 4, .02 * 3, .03 * 2 (no less than before: .06), .04 * 1 (likewise .06)."""
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0] and holm([]).tolist() == []


def test_holm_is_that_of_statsmodels():
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 40):
        p = np.round(rng.uniform(size=n) ** 3, 2)  # with ties
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], rel=1e-12)


def test_an_interval_of_the_mean_is_near_that_of_scipy():
    values = np.random.default_rng(1).exponential(size=150)
    low, high = bootstrap_interval(values, draws=20_000)
    other = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert (low, high) == pytest.approx(tuple(other), abs=0.01)
    assert bootstrap_interval(values, 0.8)[0] > low and bootstrap_interval(values) == bootstrap_interval(values)


@pytest.mark.parametrize("kind", ["recall", "difference"])
def test_intervals_cover_the_truth_in_95_of_100_samples(kind):
    """1,000 samples of 200 users: recall of 4 test items each, and the difference of two models that mostly agree."""
    rng = np.random.default_rng(20)
    hits = rng.binomial(4, 0.3, size=(200, 1000)) / 4
    values, truth = (hits, 0.3) if kind == "recall" else (rng.binomial(4, 0.32, size=hits.shape) / 4 - hits, 0.02)
    low, high = bootstrap_interval(values, draws=1000)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


def test_several_means_are_drawn_together():
    values = np.random.default_rng(3).normal(size=(50, 2))
    together = bootstrap_interval(values)
    assert bootstrap_interval(values[:, 0]) == pytest.approx(tuple(together[:, 0]))
    found = compare_users(pd.DataFrame(values, columns=["a@1", "b@1"]), pd.DataFrame(np.zeros((50, 2)), columns=["a@1", "b@1"]))
    assert found[1].interval == pytest.approx(tuple(together[:, 1])) and found[1].difference == pytest.approx(values[:, 1].mean())


class Run:
    """A record, as far as the statistics read it."""

    def __init__(self, fingerprint: str, **recall: float) -> None:
        self.fingerprint, self.stem = fingerprint, "saved/run"
        self._users = pd.DataFrame({"user": list(recall), "recall@20": list(recall.values())})

    def users(self) -> pd.DataFrame:
        return self._users


def test_users_are_aligned_by_token_and_averaged_over_the_seeds():
    ours = [Run("f", a=0.0, b=1.0, c=0.5), Run("f", c=0.7, a=0.4, b=0.8)]
    other = [Run("f", b=0.5, c=0.5, a=0.1)]
    (found,) = compare_records(ours, other, ["recall@20"])
    assert found == compare_values("recall@20", np.array([0.2, 0.9, 0.6]), np.array([0.1, 0.5, 0.5]))


def test_only_runs_on_the_same_split_are_compared():
    with pytest.raises(InputError, match="not comparable user by user: other data, or another split; give"):
        compare_records([Run("f", a=0.0)], [Run("g", a=0.0)], ["recall@20"])
    with pytest.raises(InputError, match="no ndcg@20 per user, but recall@20"):
        compare_records([Run("f", a=0.0)], [Run("f", a=0.0)], ["ndcg@20"])
