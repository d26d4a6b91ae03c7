"""The training batches of sequence models that have one row per user."""

from collections.abc import Iterator

import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from recbole_mm.data.quick_sequences import first_rows
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset, next_items
from recbole_mm.training.batches import CommonBatches
from recbole_mm.training.negative_sampler import NegativeSampler


class SequenceBatches(CommonBatches):
    """Batches of one row per user: the history, and for each of its items the one that comes next.

    The history is that of the user's last ``MAX_ITEM_LIST_LENGTH + 1`` training interactions, without the last of them. Its columns are as
    wide as the longest history of the batch, and have zeros behind a history:

    - ``item_id_list`` (b, l), ``item_length`` (b,), and the list of every other column of the interactions (``timestamp_list``);
    - ``next_item_ids`` (b, l), the item that comes next;
    - with ``negatives``, ``neg_item_id`` (b, sample_num): items that the user does not have in training.

    Users with one interaction have nothing to learn from, and no row. ``train_batch_size`` counts users. All draws of an epoch follow from
    one number of ``generator`` (see ``QuickBatches``).

    Args:
        dataset: the training part.
    """

    def __init__(self, config, dataset: MultiModalSequentialDataset, negatives: NegativeSampler | None, shuffle: bool) -> None:
        self.config, self._dataset, self.negatives, self.shuffle = config, dataset, negatives, shuffle
        self.generator = torch.Generator().manual_seed(config["seed"])
        self.times, self.neg_sample_num = 1, 0 if negatives is None else config["train_neg_sample_args"]["sample_num"]
        rows, first = dataset.inter_feat, first_rows(dataset.inter_feat[dataset.uid_field])
        starts = first.nonzero().flatten()
        ends = functional.pad(starts[1:], (0, 1), value=len(first)) - 1  # of the history: the last interaction is only a target
        starts = torch.maximum(starts, ends - config["MAX_ITEM_LIST_LENGTH"])
        kept = ends > starts
        device = config["device"]
        self.starts, self.lengths = starts[kept].to(device), (ends - starts)[kept].to(device)
        self.columns = {name: values.to(device) for name, values in rows.interaction.items()}
        self.sample_size = len(self.starts)
        self._init_batch_size_and_step()
        DataLoader.__init__(self, range(self.sample_size), batch_size=self.step, shuffle=shuffle, generator=self.generator)
        if negatives is not None:
            dataset.copy_field_property(config["NEG_PREFIX"] + dataset.iid_field, dataset.iid_field)

    def __iter__(self) -> Iterator[Interaction]:
        draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
        order = torch.randperm(self.sample_size, generator=draws) if self.shuffle else torch.arange(self.sample_size)
        for users in order.to(self.starts.device).split(self.step):
            yield self._batch(users, draws)

    def _batch(self, rows: Tensor, draws: torch.Generator) -> Interaction:
        data, lengths = self._dataset, self.lengths[rows]
        steps = torch.arange(int(lengths.max()), device=rows.device)
        valid = steps < lengths.unsqueeze(1)
        places = torch.where(valid, self.starts[rows].unsqueeze(1) + steps, 0)
        users = self.columns[data.uid_field][self.starts[rows]]
        batch = {data.uid_field: users, data.item_list_length_field: lengths}
        for field, values in self.columns.items():
            if field != data.uid_field:
                batch[getattr(data, f"{field}_list_field")] = _masked(values[places], valid)
        batch[next_items(data.iid_field)] = _masked(self.columns[data.iid_field][places + valid], valid)
        if self.negatives is not None:
            drawn = self.negatives.draw(users.repeat_interleave(self.neg_sample_num), draws)
            batch[self.config["NEG_PREFIX"] + data.iid_field] = drawn.view(len(users), -1)
        return Interaction(batch)


def _masked(values: Tensor, valid: Tensor) -> Tensor:
    """Zeros where not ``valid`` (b, l). Values: (b, l, ...)."""
    return values * valid.view(*valid.shape, *[1] * (values.ndim - 2)).to(values.dtype)
