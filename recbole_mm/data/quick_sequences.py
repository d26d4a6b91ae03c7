"""QuickSequences: the histories of RecBole's sequential models, made for many rows at a time. They are equal to RecBole's."""

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.data.quick_split import rows_of

ROWS_AT_ONCE = 2**15


class QuickSequences:
    """A mixin that stands before RecBole's SequentialDataset. Under ``fast_loop: False`` everything is RecBole's own."""

    def data_augmentation(self) -> None:
        """Gives every interaction but a user's first the ones before it, the last ``MAX_ITEM_LIST_LENGTH`` of them."""
        if not self.config["fast_loop"]:
            super().data_augmentation()
            return
        starts, targets = self.sort_histories()
        self.inter_feat = self.with_histories(self.inter_feat, starts, targets)

    def sort_histories(self) -> tuple[Tensor, Tensor]:
        """Sorts the interactions by user and time, and tells the data set of the columns that histories will have.

        Returns:
            The places of all interactions but each user's first, and where the history of each begins: (n,) each, begins first.
        """
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        users = self.inter_feat[self.uid_field]
        places, first = torch.arange(len(users)), first_rows(users)
        begins = torch.where(first, places, 0).cummax(0).values
        targets = (~first).nonzero().flatten()
        return torch.maximum(begins[targets], targets - self.config["MAX_ITEM_LIST_LENGTH"]), targets

    def with_histories(self, rows: Interaction, starts: Tensor, targets: Tensor) -> Interaction:
        """Some interactions, each with those from a place to before its own.

        Args:
            rows: all interactions, as ``sort_histories`` has left them.
            starts, targets: places in ``rows``, (n,) each.
        """
        lists = {self.item_list_length_field: targets - starts}
        for field in rows:
            if field != self.uid_field:
                list_field = getattr(self, f"{field}_list_field")
                lists[list_field] = self._lists(rows[field], field, self.field2seqlen[list_field], starts, targets)
        chosen = rows_of(rows, targets)
        chosen.update(Interaction(lists))
        return chosen

    def _lists(self, values: Tensor, field: str, shape: int | tuple[int, int], starts: Tensor, ends: Tensor) -> Tensor:
        """The values of a column from ``starts`` to before ``ends``, (n,) each, as (n, *shape, ...) with zeros after them."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        pairs = values.shape[-1:] if self._is_numerical(field) else ()
        lists = torch.zeros((len(starts), *shape, *pairs), dtype=values.dtype)
        steps = torch.arange(shape[0])
        for part in range(0, len(starts), ROWS_AT_ONCE):
            own = slice(part, part + ROWS_AT_ONCE)
            row, step = torch.nonzero(steps < (ends - starts)[own, None], as_tuple=True)
            lists[own][row, step] = values[starts[own][row] + step]
        return lists

    def _is_numerical(self, field: str) -> bool:
        return self.field2type[field].value.startswith("float") and field in self.config["numerical_features"]


def first_rows(users: Tensor) -> Tensor:
    """Which rows are a user's first, bool (n,), where each user's rows are together."""
    first = torch.ones(len(users), dtype=torch.bool)
    first[1:] = users[1:] != users[:-1]
    return first
