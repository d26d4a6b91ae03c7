"""RecBole's FullSortEvalDataLoader, whose batches are made of whole arrays."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from logging import getLogger

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor
from torch.nn import functional

from recbole_mm.data.samplers import UsedItems
from recbole_mm.evaluation.top import columns_of


class Lists:
    """A list of items for each of n users, one after the other.

    Args:
        places: the user of each entry, by place, in ascending order.
        items: of each entry.
    """

    def __init__(self, places: Tensor, items: Tensor, n: int) -> None:
        self.places, self.items = places, items
        self.bounds = functional.pad(torch.bincount(places, minlength=n).cumsum(0), (1, 0))

    def of(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The lists of some users: whose of them an entry is, by place in ``chosen``, and its item, (m,) each."""
        if (chosen.diff() == 1).all():  # neighbours, as loaders give them
            first = int(chosen[0])
            own = slice(*self.bounds[[first, first + len(chosen)]].tolist())
            return self.places[own] - first, self.items[own]
        rows = torch.arange(len(chosen)).repeat_interleave((self.bounds[1:] - self.bounds[:-1])[chosen])
        return rows, self.items[self.bounds[chosen][rows] + columns_of(rows, len(chosen))[0]]

    def each(self) -> list[Tensor]:
        """The items of each user."""
        return list(self.items.split(self.bounds.diff().tolist()))


class FullSort(FullSortEvalDataLoader):
    """RecBole's FullSortEvalDataLoader, with the same batches. Its lists of items per user are made when somebody asks for them.

    Sequences, which have no such lists, are RecBole's.
    """

    def __init__(self, config, dataset, sampler, shuffle: bool = False) -> None:
        if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
            super().__init__(config, dataset, sampler, shuffle)
            return
        self.logger, self.is_sequential = getLogger(), False
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        dataset.sort(by=self.uid_field, ascending=True)
        users, items, n_items = dataset.inter_feat[self.uid_field], dataset.inter_feat[self.iid_field], dataset.item_num
        self.uid_list = torch.unique_consecutive(users)
        self.sample_size = len(self.uid_list)
        relevant, used = torch.unique(users * n_items + items), used_pairs(sampler.used_ids, self.uid_list, n_items)
        before = used[torch.isin(used // n_items, self.uid_list) & ~torch.isin(used, relevant)]
        self.relevant, self.history = (Lists(torch.searchsorted(self.uid_list, pairs // n_items), pairs % n_items, self.sample_size)
                                       for pairs in (relevant, before))  # fmt: skip
        self.uid2items_num = np.zeros(dataset.user_num, dtype=np.int64)
        self.uid2items_num[self.uid_list] = self.relevant.bounds.diff()
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        super(FullSortEvalDataLoader, self).__init__(config, dataset, sampler, shuffle=False)

    @cached_property
    def uid2positive_item(self) -> np.ndarray:
        """user -> what is relevant; None for users who are not evaluated."""
        return self._by_user(self.relevant)

    @cached_property
    def uid2history_item(self) -> np.ndarray:
        """user -> what they had before; None for users who are not evaluated."""
        return self._by_user(self.history)

    def collate_fn(self, index: Sequence[int]) -> tuple:
        """RecBole's batch: the users, rows and items of what they had before, and rows and items of what is relevant."""
        if self.is_sequential:
            return super().collate_fn(index)
        places = torch.as_tensor(index)
        return self.user_df[places], self.history.of(places), *self.relevant.of(places)

    def _by_user(self, lists: Lists) -> np.ndarray:
        found = np.array([None] * self._dataset.user_num)
        for user, items in zip(self.uid_list.tolist(), lists.each(), strict=True):
            found[user] = items
        return found


def used_pairs(used: UsedItems | np.ndarray, users: Tensor, n_items: int) -> Tensor:
    """``user * n_items + item`` of what users had, or a set of items each, in ascending order."""
    if isinstance(used, UsedItems):
        return used.pairs
    own = [used[user] for user in users.tolist()]
    rows = users.repeat_interleave(torch.tensor([len(items) for items in own], dtype=torch.int64))
    return torch.unique(rows * n_items + torch.tensor(list(chain.from_iterable(own)), dtype=torch.int64))


def full_sort_loader(config, recboles: type = FullSortEvalDataLoader) -> type:
    """The class of an evaluation's loader: FullSort in place of RecBole's, unless ``fast_loop`` is off."""
    return FullSort if config["fast_loop"] and recboles is FullSortEvalDataLoader else recboles
