"""Shims for recbole 1.2.1's Dataset under pandas 3, where three of its ways with a table do something else without a word."""

from functools import wraps
from types import ModuleType

from recbole_mm.compat.list_columns import ListTable


def fix_dataset(module: ModuleType) -> None:
    """recbole/data/dataset/dataset.py:632, ``_fill_nan``, which fills columns in place, and :1217 and others, ``agg(len)`` on columns of
    lists, in the tables of ``_load_feat`` and ``_user_item_feat_preparation``."""
    dataset = module.Dataset
    if dataset._fill_nan is _fill_nan:
        return
    load, prepare = dataset._load_feat, dataset._user_item_feat_preparation

    @wraps(load)
    def load_with_lists(self, *args, **kwargs):
        return _with_lists(load(self, *args, **kwargs))

    @wraps(prepare)
    def prepare_with_lists(self) -> None:
        prepare(self)
        self.user_feat, self.item_feat = _with_lists(self.user_feat), _with_lists(self.item_feat)

    dataset._fill_nan, dataset._load_feat, dataset._user_item_feat_preparation = _fill_nan, load_with_lists, prepare_with_lists


def _with_lists(table):
    return None if table is None else ListTable(table)


def _fill_nan(self) -> None:
    """A missing token becomes the padding, a missing number the mean of the others, a missing list an empty one."""
    import numpy as np
    from recbole.utils import FeatureType

    for name in self.feat_name_list:
        table = getattr(self, name)
        for column in table:
            kind = self.field2type[column]
            if kind == FeatureType.TOKEN:
                table[column] = table[column].fillna(0)
            elif kind == FeatureType.FLOAT:
                table[column] = table[column].fillna(table[column].mean())
            else:
                empty = np.array([], dtype=np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64)
                table[column] = table[column].apply(lambda value, empty=empty: empty if isinstance(value, float) else value)
