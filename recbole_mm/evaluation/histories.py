"""What the users of a sequential evaluation had before: masked where that is wanted, and without the items that are kept from training."""

from collections.abc import Sequence

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mm.evaluation.full_sort import Lists

HISTORIES = {True: "histories masked", False: "histories not masked"}
"""``mask_history`` in words, for the log and the screen."""


class MaskedHistories(FullSortEvalDataLoader):
    """RecBole's FullSortEvalDataLoader of sequences, whose batches also say what is masked in each row (``mask_history: True``): the items
    of its history, and those that its user has in earlier parts of the data, which may lie further back than a history reaches.

    An item that a user comes back to is still found: the one that follows a history is never masked in its row.

    Args:
        sampler: its ``used_ids`` are the ``UsedItems`` of the earlier parts.

    Attributes:
        earlier: their users and items, int64 (m,) each.
    """

    def __init__(self, config, dataset, sampler, shuffle: bool = False) -> None:
        super().__init__(config, dataset, sampler, shuffle)
        rows, n = dataset.inter_feat, dataset.item_num
        users, targets, histories = rows[self.uid_field], rows[self.iid_field], rows[self.iid_field + config["LIST_SUFFIX"]]
        places, steps = histories.nonzero(as_tuple=True)
        self.earlier = sampler.used_ids.pairs // n, sampler.used_ids.pairs % n
        earlier, items = Lists(*self.earlier, dataset.user_num).of(users)
        pairs = torch.unique(torch.cat([places * n + histories[places, steps], earlier * n + items]))
        pairs = pairs[~torch.isin(pairs, torch.arange(len(users)) * n + targets)]
        self.masked = Lists(pairs // n, pairs % n, len(users))

    def collate_fn(self, index: Sequence[int]) -> tuple:
        """RecBole's batch: the rows, places and items of what is masked, and places and items of what is relevant."""
        interaction, _, *positive = super().collate_fn(index)
        return interaction, self.masked.of(torch.as_tensor(index)), *positive


def without_items(rows: Interaction, items: Tensor, item_field: str, length_field: str, suffix: str) -> Interaction:
    """RecBole's rows of histories and what follows them, without some items: they follow nothing, and are in no history.

    Args:
        items: their ids, int64 (n,).
        item_field, length_field: the columns of what follows, and of the lengths of histories.
        suffix: of the columns that are lists, which are padded at their ends.
    """
    rows = rows[~torch.isin(rows[item_field], items)]
    histories = rows[item_field + suffix]
    kept = (histories != 0) & ~torch.isin(histories, items)
    order, lengths = kept.long().argsort(dim=1, descending=True, stable=True), kept.sum(1)
    inside = torch.arange(histories.shape[1]) < lengths.unsqueeze(1)
    columns = dict(rows.interaction) | {length_field: lengths.to(rows[length_field].dtype)}
    for name, values in columns.items():
        if name.endswith(suffix) and values.shape[:2] == histories.shape:
            places = order.view(*order.shape, *[1] * (values.ndim - 2)).expand_as(values)
            columns[name] = values.gather(1, places) * inside.view(*inside.shape, *[1] * (values.ndim - 2)).to(values.dtype)
    return Interaction(columns)[lengths > 0]
