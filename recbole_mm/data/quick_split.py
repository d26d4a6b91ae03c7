"""QuickSplit: RecBole's splits by ratio, by time and leave-one-out, without a loop over users. The rows and their order are the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction


class QuickSplit:
    """A mixin that stands before one of RecBole's dataset classes. Under ``fast_loop: False`` everything is RecBole's own."""

    def split_by_ratio(self, ratios: Sequence[float], group_by: str | None = None) -> list:
        """The data sets of the parts, of each group's rows or of all."""
        if not self.config["fast_loop"]:
            return super().split_by_ratio(ratios, group_by)
        shares = [ratio / sum(ratios) for ratio in ratios]
        if group_by is None:
            rows, sizes = np.arange(len(self)), np.array([len(self)])
        else:
            rows, sizes = grouped(self.inter_feat[group_by])
        ends = _sizes_of_parts(sizes, shares).cumsum(axis=1)[:, :-1]
        return self._in_parts(rows, (_places(sizes)[:, None] >= ends.repeat(sizes, axis=0)).sum(axis=1), len(shares))

    def leave_one_out(self, group_by: str | None, leave_one_mode: str) -> list:
        """The data sets of the parts: the last row or two of every group are for validation or the test."""
        left = {"valid_and_test": 2, "valid_only": 1, "test_only": 1}.get(leave_one_mode)
        if not self.config["fast_loop"] or group_by is None or left is None:
            return super().leave_one_out(group_by, leave_one_mode)
        rows, sizes = grouped(self.inter_feat[group_by])
        before_end = np.repeat(sizes, sizes) - _places(sizes)  # 1 is the last row of a group
        kept = before_end > np.minimum(left, sizes - 1).repeat(sizes)
        parts = np.where(kept, 0, 3 - before_end if leave_one_mode != "valid_only" else 1)
        return self._in_parts(rows, parts, 3)

    def time_based_split(self, ratios: Sequence[float], group_by: str | None) -> list:
        """The data sets of the parts: the test has what came after a moment that is the same for all groups."""
        if not self.config["fast_loop"] or group_by is None or self.time_field not in self.inter_feat or len(ratios) != 3:
            return super().time_based_split(ratios, group_by)
        shares, times = [ratio / sum(ratios) for ratio in ratios], self.inter_feat[self.time_field].numpy()
        early = times <= np.percentile(times, 100 * (1 - shares[-1]))
        rows, sizes = grouped(self.inter_feat[group_by])
        before = np.add.reduceat(early[rows], sizes.cumsum() - sizes, dtype=np.int64)
        ends = np.stack([(before * (shares[0] / (1 - shares[2]))).astype(np.int64), before], axis=1)
        return self._in_parts(rows, (_places(sizes)[:, None] >= ends.repeat(sizes, axis=0)).sum(axis=1), 3)

    def _in_parts(self, rows: np.ndarray, parts: np.ndarray, n: int) -> list:
        """The data set as ``n`` ones.

        Args:
            rows: of the interactions, in the order that they have in the parts, int64 (m,).
            parts: the part of each, int64 (m,).
        """
        self._drop_unused_col()
        return [self.copy(rows_of(self.inter_feat, torch.from_numpy(rows[parts == part]))) for part in range(n)]


def rows_of(interactions: Interaction, rows: torch.Tensor) -> Interaction:
    """Some rows, by their places or by a mask. RecBole's own indexing makes a list of them first."""
    return Interaction({field: values[rows] for field, values in interactions.interaction.items()})


def grouped(values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The rows group by group, in the order of the groups' first rows, and the groups' sizes."""
    groups = pd.factorize(values.numpy())[0].astype(np.int64)
    n = len(groups)
    return np.sort(groups * n + np.arange(n)) % n, np.bincount(groups)


def _places(sizes: np.ndarray) -> np.ndarray:
    """The place of every row within its group, the rows being group by group."""
    return np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)


def _sizes_of_parts(sizes: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """How many rows of each group are in each part, int64 (groups, parts). All parts but the first are rounded down; then those that would
    have less than one row get one as long as the first has more than one, beginning with the last part."""
    wanted = np.outer(sizes, shares)
    counts = wanted.astype(np.int64)
    counts[:, 0] = sizes - counts[:, 1:].sum(axis=1)
    going = np.ones(len(sizes), dtype=bool)
    for part in range(1, len(shares)):
        going &= counts[:, 0] > 1
        given = going & (wanted[:, -part] > 0) & (wanted[:, -part] < 1)
        counts[given, -part] += 1
        counts[given, 0] -= 1
    return counts
