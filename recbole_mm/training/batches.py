"""The batches of training: RecBole's, and the same ones made many at a time."""

from collections.abc import Iterator

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType, InputType
from torch import Tensor
from torch.utils.data import DataLoader

from recbole_mm.parallel.ranks import Ranks
from recbole_mm.parallel.read_ahead import read_ahead
from recbole_mm.training.negative_sampler import NegativeSampler

DRAWN_AT_ONCE = 2**18
"""For how many interactions and negatives random numbers are drawn at once, about."""


class CommonBatches(TrainDataLoader):
    """RecBole's TrainDataLoader, whose batches are those of all processes that train together: each of them adds ``train_batch_size``
    interactions, and all of them have the same batches."""

    def _init_batch_size_and_step(self) -> None:
        self.step = max(self.config["train_batch_size"] * Ranks.current().world // self.times, 1)
        self.set_batch_size(self.step * self.times)


class QuickBatches(CommonBatches):
    """The batches of CommonBatches, with other random draws.

    The columns of the data lie on the device of training, where batches are taken out of them. The order of an epoch and the negatives of
    many batches are drawn at once. All draws of an epoch follow from one number of ``generator``, so its state after an epoch is all that
    a resumed run needs, and processes and devices that have the same seed have the same batches.

    Args:
        negatives: draws the negatives; None for batches without.
    """

    def __init__(self, config, dataset, negatives: NegativeSampler | None, shuffle: bool) -> None:
        self.config, self._dataset, self.negatives, self.shuffle = config, dataset, negatives, shuffle
        self.sample_size, self.user, self.item = len(dataset), dataset.uid_field, dataset.iid_field
        self.generator = torch.Generator().manual_seed(config["seed"])
        self.label, self.prefix = config["LABEL_FIELD"], config["NEG_PREFIX"]
        self.pointwise = negatives is not None and config["MODEL_INPUT_TYPE"] == InputType.POINTWISE
        number = 0 if negatives is None else config["train_neg_sample_args"]["sample_num"]
        self.times = number + self.pointwise or 1
        self.neg_sample_num = number
        self._init_batch_size_and_step()
        DataLoader.__init__(self, range(self.sample_size), batch_size=self.step, shuffle=shuffle, generator=self.generator)
        device = config["device"]
        self.columns = {name: values.to(device) for name, values in dataset.inter_feat.interaction.items()}
        self.user_columns, self.item_columns = (
            {} if joined is None else {name: values.to(device) for name, values in joined.interaction.items()}
            for joined in (dataset.user_feat, dataset.item_feat)
        )
        self._name_columns()

    def _name_columns(self) -> None:
        """Tells the data set of the columns that batches have beside its own, as models look them up there."""
        if self.pointwise:
            self._dataset.set_field_property(self.label, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
        elif self.negatives is not None:
            for name in self.item_columns or [self.item]:
                self._dataset.copy_field_property(self.prefix + name, name)

    def __iter__(self) -> Iterator[Interaction]:
        draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
        order = torch.randperm(self.sample_size, generator=draws) if self.shuffle else torch.arange(self.sample_size)
        device = self.columns[self.user].device

        def drawn(rows: Tensor) -> tuple[Tensor, Tensor | None]:
            rows = rows.to(device)
            if self.negatives is None:
                return rows, None
            users = self.columns[self.user].index_select(0, rows)
            return rows, self.negatives.draw(users.repeat_interleave(self.neg_sample_num), draws).view(len(rows), self.neg_sample_num)

        at_once = order.split(self.step * max(1, DRAWN_AT_ONCE // (self.step * self.times)))
        blocks = map(drawn, at_once) if device.type == "cpu" else read_ahead(drawn, at_once, ahead=1)
        for rows, negatives in blocks:
            for start in range(0, len(rows), self.step):
                chosen = slice(start, start + self.step)
                yield self._batch(rows[chosen], None if negatives is None else negatives[chosen].T.flatten())

    def _batch(self, rows: Tensor, negatives: Tensor | None) -> Interaction:
        columns = {name: values.index_select(0, rows) for name, values in self.columns.items()}
        if self.times > 1:
            columns = {name: values.repeat(self.times, *[1] * (values.ndim - 1)) for name, values in columns.items()}
        if self.pointwise:
            columns[self.item][len(rows) :] = negatives
        columns |= self._joined(self.user_columns, columns[self.user]) | self._joined(self.item_columns, columns[self.item])
        if self.pointwise:
            columns[self.label] = torch.zeros(len(rows) * self.times, device=rows.device)
            columns[self.label][: len(rows)] = 1
        elif negatives is not None:
            others = {self.item: negatives} | self._joined(self.item_columns, negatives)
            columns |= {self.prefix + name: values for name, values in others.items()}
        return Interaction(columns)

    @staticmethod
    def _joined(columns: dict[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
        return {name: values.index_select(0, ids) for name, values in columns.items()}
