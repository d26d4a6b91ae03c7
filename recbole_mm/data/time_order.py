"""The order in which interactions happened, to the last digit of their times."""

import numpy as np
import pandas as pd
import torch


class TimeOrder:
    """A mixin that stands before one of RecBole's dataset classes, which keep times as float32: moments within two minutes of each other
    become one, and then the order of the rows decides.

    Attributes:
        keeps_order: whether ``in_order`` is wanted. To be set before the data set is split.
        in_order: the users and the items of all interactions, int64 (n,) each, in the order of their times; of the same time, in the order
            of their ids, so that the order of the rows has no say. And their times, as float32. None without times.
    """

    keeps_order: bool = False
    in_order: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def _change_feat_format(self) -> None:
        rows = self.inter_feat
        if self.keeps_order and isinstance(rows, pd.DataFrame) and self.time_field in rows and not self.benchmark_filename_list:
            users, items, times = (np.asarray(rows[field]) for field in (self.uid_field, self.iid_field, self.time_field))
            order = np.lexsort((items, times))
            self.in_order = *(torch.from_numpy(values[order]).long() for values in (users, items)), torch.tensor(times[order]).float()
        super()._change_feat_format()
