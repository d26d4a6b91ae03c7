"""The rows of the forgotten, which stay as they are while all else is trained."""

from collections.abc import Iterator

import torch
from torch import nn

from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.request import Forgotten


class FrozenRows:
    """The rows that the forgotten have in the tables of a run's model.

    Args:
        run: over what stays.
        forgotten: of that run.
    """

    def __init__(self, run: KeptRun, forgotten: Forgotten) -> None:
        places = ((table, rows.to(table.device)) for table, rows in _rows(run, forgotten))
        self.rows = [(table, rows, table.detach()[rows].clone()) for table, rows in places]

    @torch.no_grad()
    def put_back(self) -> None:
        """Undoes what a step has made of them."""
        for table, rows, values in self.rows:
            table[rows] = values


def _rows(run: KeptRun, forgotten: Forgotten) -> Iterator[tuple[nn.Parameter, torch.Tensor]]:
    """The tables of a model's users, items or both, and which of their rows are those of the forgotten."""
    n_users, n_items = run.dataset.user_num, run.dataset.item_num
    of = {n_users: forgotten.users, n_items: forgotten.items, n_users + n_items: torch.cat([forgotten.users, n_users + forgotten.items])}
    for name, table in run.model.named_parameters():
        rows = of.get(len(table)) if table.dim() > 1 else None
        if rows is not None and n_users == n_items == len(table):
            rows = forgotten.items if "item" in name else forgotten.users
        if rows is not None and len(rows):
            yield table, rows
