"""QuickTables: what RecBole does to the tables of a data set with a Python loop over rows, done by whole columns. The results are equal."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from recbole.utils import FeatureType


class QuickTables:
    """A mixin that stands before one of RecBole's dataset classes. Under ``fast_loop: False`` everything is RecBole's own."""

    def _filter_by_inter_num(self) -> None:
        if not self.config["fast_loop"] or self.uid_field is None or self.iid_field is None:
            super()._filter_by_inter_num()
            return
        sides = []
        for field, table, key in (
            (self.uid_field, "user_feat", "user_inter_num_interval"), (self.iid_field, "item_feat", "item_inter_num_interval"),
        ):  # fmt: skip
            intervals = self._parse_intervals_str(self.config[key])
            if intervals:
                if len(intervals) > 1:
                    self.logger.warning("More than one interval of interaction number are given!")
                sides.append(_Side(self, field, table, intervals))
        kept = np.ones(len(self.inter_feat), dtype=bool)
        while any([side.bans_some(kept) for side in sides]):
            for side in sides:
                kept &= ~side.banned[side.codes]
        if not kept.all():
            self.inter_feat = self.inter_feat[kept]
        for side in sides:
            side.drop_rows(self)

    def _remap(self, remap_list: list[tuple]) -> None:
        if not self.config["fast_loop"] or not remap_list:
            super()._remap(remap_list)
            return
        coded = [pd.factorize(flat_tokens(table[field], kind)) for table, field, kind in remap_list]
        places, tokens = pd.factorize(np.concatenate([np.asarray(distinct, dtype=object) for _, distinct in coded]))
        named = np.array(["[PAD]", *tokens])
        ids = {token: place for place, token in enumerate(named.tolist())}
        start = 0
        for (table, field, kind), (codes, distinct) in zip(remap_list, coded, strict=True):
            new = np.concatenate([places[start : start + len(distinct)] + 1, [0]])[codes]  # a missing token's code is -1
            start += len(distinct)
            self.field2id_token.setdefault(field, named)
            self.field2token_id.setdefault(field, ids)
            table[field] = new if kind == FeatureType.TOKEN else np.split(new, np.cumsum(table[field].map(len))[:-1])


class _Side:
    """The users, or the items, that ``user_inter_num_interval`` or ``item_inter_num_interval`` counts.

    Attributes:
        codes: who it is in every interaction, from 0 on.
        banned: who has been found to have too few interactions or too many, bool.
    """

    def __init__(self, dataset, field: str, table: str, intervals: Sequence[tuple]) -> None:
        column = dataset.inter_feat[field]
        known = isinstance(column.dtype, pd.CategoricalDtype)
        self.codes, self.tokens = (column.cat.codes.to_numpy(), column.cat.categories) if known else pd.factorize(column)
        self.banned = np.zeros(len(self.tokens), dtype=bool)
        self.intervals, self.within, self.table, self.rows = intervals, dataset._within_intervals, table, None
        feat = getattr(dataset, table)
        if feat is not None:
            self.rows = pd.Index(np.asarray(self.tokens, dtype=object)).get_indexer(np.asarray(feat[field], dtype=object))
            self.dropped = np.zeros(len(feat), dtype=bool)

    def bans_some(self, kept: np.ndarray) -> bool:
        """Counts the interactions that are kept, and says whether anybody's number is newly out of bounds."""
        counts = np.bincount(self.codes[kept], minlength=len(self.tokens))
        banned = (counts > 0) & ~self.within(counts, self.intervals)
        self.banned |= banned
        if self.rows is None:
            return banned.any()
        low = np.append(counts, 0)[self.rows] < self.intervals[0][1]
        new = (low | np.append(banned, False)[self.rows]) & ~self.dropped
        self.dropped |= new
        self.banned[self.rows[new & (self.rows >= 0)]] = True
        return banned.any() or new.any()

    def drop_rows(self, dataset) -> None:
        if self.rows is not None and self.dropped.any():
            setattr(dataset, self.table, getattr(dataset, self.table)[~self.dropped])


def flat_tokens(column: pd.Series, kind: FeatureType) -> pd.Series | np.ndarray:
    """The tokens of a column, row after row, where a row may have several."""
    return column if kind == FeatureType.TOKEN else np.concatenate(column.to_list())
