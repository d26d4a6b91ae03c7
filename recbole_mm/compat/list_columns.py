"""Tables whose columns may hold a list per row, as RecBole's own code expects of pandas."""

from collections.abc import Callable

import pandas as pd


class ListColumn(pd.Series):
    """A column with which ``agg(len)`` gives the length of each list. pandas 3 gives the number of rows, where earlier ones tried each
    value by itself first, as recbole/data/dataset/dataset.py:1217 and others count on."""

    @property
    def _constructor(self) -> type["ListColumn"]:
        return ListColumn

    def agg(self, func: Callable | None = None, *args, **kwargs) -> object:
        return self.map(len) if func is len else super().agg(func, *args, **kwargs)


class ListTable(pd.DataFrame):
    """A table of such columns."""

    @property
    def _constructor(self) -> type["ListTable"]:
        return ListTable

    @property
    def _constructor_sliced(self) -> type[ListColumn]:
        return ListColumn
