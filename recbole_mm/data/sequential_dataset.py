"""MultiModalSequentialDataset: RecBole's SequentialDataset, whose items also have pictures and texts, and whose training part may stay as
it is instead of becoming a row per prefix."""

import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.data.quick_sequences import QuickSequences
from recbole_mm.data.quick_split import rows_of

PLACE, START = "place_in_history", "start_of_history"
"""Columns of a data set while it is split: the place of each interaction, and of the first one of its history."""


class MultiModalSequentialDataset(QuickSequences, MultiModalDataset, SequentialDataset):
    """RecBole's SequentialDataset with ``content``, as of a MultiModalDataset.

    The validation and test part are RecBole's: a row per interaction, with the history before it. The training part depends on
    ``sequence_rows``:

    - ``prefixes``: RecBole's as well;
    - ``users``: the interactions alone, each user's one behind the other in the order of time, their first ones included. Training has one
      row per user of them (see ``training.sequence_batches``). No history is stored, so that memory grows with the interactions, and not
      with their number times ``MAX_ITEM_LIST_LENGTH``.

    RecBole's benchmark files for sequential models hold histories already, and are taken as they are: ``prefixes``.
    """

    def data_augmentation(self) -> None:
        if not self.has_user_rows:
            super().data_augmentation()
            return
        starts, targets = self.sort_histories()
        self.whole = self.inter_feat
        self.inter_feat = rows_of(self.whole, targets)
        self.inter_feat.update(Interaction({PLACE: targets, START: starts}))

    def build(self) -> list:
        parts = super().build()
        if self.has_user_rows:
            training, *later = parts
            in_training = torch.ones(len(self.whole), dtype=torch.bool)
            if self.stored is not None:  # which has a part for what is now the first one of a history
                in_training = self.stored_parts(self.whole[self.uid_field], self.whole[self.iid_field]) == 0
            for part in later:
                places, starts = part.inter_feat[PLACE], part.inter_feat[START]
                in_training[places] = False
                part.inter_feat = self.with_histories(self.whole, starts, places)
            training.inter_feat = rows_of(self.whole, in_training)
            self.inter_feat = self.whole
        return parts

    @property
    def has_user_rows(self) -> bool:
        """Whether training has one row per user."""
        return self.config["sequence_rows"] == "users" and self.config["benchmark_filename"] is None


def next_items(item_field: str) -> str:
    """The column of a batch with one row per user that has, for each item of a history, the one that comes next."""
    return f"next_{item_field}s"


def our_dataset(model_type: ModelType) -> type[MultiModalDataset]:
    """The data set class of our models of a type."""
    return MultiModalSequentialDataset if model_type == ModelType.SEQUENTIAL else MultiModalDataset
