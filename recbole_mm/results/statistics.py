"""Is one model better than another? Paired tests over the users of one split, corrected for their number, and bootstrap intervals."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from recbole_mm.errors import InputError
from recbole_mm.results.records import Record, metrics_per_user

DRAWS = 2000
LEVEL = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Two models' values of a metric, user by user.

    Attributes:
        metric, n_users: what was compared, over how many users.
        mean, reference: the means of the two.
        difference: of the means; positive where the first is larger.
        interval: a bootstrap interval of the difference.
        p_t, p_wilcoxon: of the paired t-test and of Wilcoxon's signed-rank test, both two-sided; 1 where no user differs.
    """

    metric: str
    n_users: int
    mean: float
    reference: float
    difference: float
    interval: Interval
    p_t: float
    p_wilcoxon: float


def compare_records(records: Sequence[Record], references: Sequence[Record], metrics: Sequence[str]) -> list[Comparison]:
    """Compares two models on the split or splits that both were run on.

    Args:
        records, references: of the one model and the other, a record per seed. The values of a user are means over the seeds.
        metrics: names such as ``recall@20``.

    Raises:
        InputError: the two were not run on the same data and split, or a run has no such metric per user.
    """
    splits, others = ({record.fingerprint for record in some} for some in (records, references))
    if splits != others:
        raise InputError(f"{records[0].stem} and {references[0].stem} are not comparable user by user: other data, or another split; "
                         "give both the same data set, seeds, split and filters")  # fmt: skip
    one, other = mean_over_seeds(records, metrics), mean_over_seeds(references, metrics)
    return compare_users(one, other.reindex(one.index))


def mean_over_seeds(records: Sequence[Record], metrics: Sequence[str]) -> pd.DataFrame:
    """The values of each user, a row per user (by token) and a column per metric, as means over the records that have the user.

    Raises:
        InputError: a run has no such metric per user.
    """
    tables = []
    for record in records:
        users = record.users()
        tables.append(users.set_index("user")[metrics_per_user(users, metrics)])
    return pd.concat(tables).groupby(level="user").mean()


def compare_users(values: pd.DataFrame, references: pd.DataFrame, seed: int = 0) -> list[Comparison]:
    """Compares two models by the values of the same users, a row per user and a column per metric, in the same order."""
    differences = (values - references).to_numpy()
    intervals = bootstrap_interval(differences, seed=seed).T.tolist()
    return [
        Comparison(
            metric, len(values), float(values[metric].mean()), float(references[metric].mean()), float(own.mean()), (low, high),
            p_of_t(own), p_of_wilcoxon(own),
        )
        for metric, own, (low, high) in zip(values, differences.T, intervals, strict=True)
    ]  # fmt: skip


def compare_values(metric: str, values: np.ndarray, reference: np.ndarray, seed: int = 0) -> Comparison:
    """Compares two models by the values (n,) of the same users, in the same order."""
    (found,) = compare_users(pd.DataFrame({metric: values}), pd.DataFrame({metric: reference}), seed)
    return found


def p_of_t(differences: np.ndarray) -> float:
    """The two-sided p-value of a paired t-test, from the differences (n,)."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all differences are the same
        return float(stats.ttest_1samp(differences, 0.0).pvalue)


def p_of_wilcoxon(differences: np.ndarray) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test, from the differences (n,). Users without a difference are left out."""
    if not differences.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few users differ
        return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's correction: p-values (n,) that may each be compared with the level at which one of the whole family may be wrong."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def bootstrap_interval(values: np.ndarray, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Interval | np.ndarray:
    """A percentile bootstrap interval of a mean over users. For a difference of means give the differences of each user.

    Args:
        values: (n,), or (n, m) for m means that are drawn together.
        level: how often such an interval holds the true mean.

    Returns:
        (low, high); for m means an array (2, m).
    """
    values, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
    n = len(values)
    means = [np.bincount(rng.integers(n, size=n), minlength=n) @ values / n for _ in range(draws)]
    found = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return found if values.ndim == 2 else (float(found[0]), float(found[1]))
