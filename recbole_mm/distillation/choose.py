"""Which of the objectives of distilling are possible with a student and its teacher."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbole_mm.distillation.linear_map import fitted
from recbole_mm.distillation.objectives import Relations, Rows
from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.finetune.choose_objectives import Chooser
from recbole_mm.finetune.units import Units
from recbole_mm.items.encoded_items import EncodedItems

FITTED_TO = 4096
"""The most units that a linear map is fitted to before training."""


class DistilChooser(Chooser):
    """The objectives of distilling.

    Args:
        items: encodes items by the student.
        taught: ``{modality: (n_units, d)}``, the teacher's rows.
        same_space: whether the student's rows lie in the teacher's space already, so that they need no linear map to it.
    """

    def __init__(
        self, items: EncodedItems, units: Units, trained: Tensor, taught: Mapping[str, Tensor], same_space: bool, settings: DistilSettings
    ) -> None:  # fmt: skip
        super().__init__(items.encoder, units, trained, settings)
        self.items, self.taught, self.same_space = items, taught, same_space

    def _rows(self) -> Rows:
        return Rows(self.units, self.taught, {} if self.same_space else self._maps())

    def _relations(self) -> Relations:
        return Relations(self.units, self.taught)

    @torch.no_grad()
    def _maps(self) -> dict[str, nn.Module]:
        """The best linear maps from the rows that the student gives before it learns."""
        self.encoder.eval()
        known = self.trained.nonzero().squeeze(1)
        some = known[torch.linspace(0, len(known) - 1, min(len(known), FITTED_TO)).long()]
        rows, maps = self.items.encode(self.units.ids[some].to(self.items.device)), {}
        for m, taught in self.taught.items():
            here = self.units.groups[m][some] >= 0
            maps[m] = fitted(rows[m].cpu()[here], taught[some[here]])
        return maps
