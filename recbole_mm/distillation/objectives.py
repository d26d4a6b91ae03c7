"""The objectives of distilling: what a student learns of the rows that its teacher makes of the units of a batch."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.objectives import Objective
from recbole_mm.finetune.units import Units

RELATION_TEMPERATURE = 0.05


class Distilled(Objective):
    """An objective that compares a student's rows with a teacher's, in each modality by itself; the mean over modalities.

    Args:
        units: all units of the catalogue, in the modalities that teacher and student have in common.
        taught: ``{modality: (n_units, d)}``, the teacher's rows.
    """

    drawn = False

    def __init__(self, units: Units, taught: Mapping[str, Tensor]) -> None:
        super().__init__(torch.stack([units.groups[m] >= 0 for m in taught]).any(0))
        self.taught = {m: rows.float() for m, rows in taught.items()}

    def data(self) -> dict[str, Tensor]:
        return self.taught

    def forward(self, batch: Batch) -> Tensor:
        losses = []
        for m, taught in self.taught.items():
            here = batch.having(m)
            rows = batch.rows[m][here].float()
            with torch.autocast(rows.device.type, enabled=False):
                losses.append(self.loss(m, rows, taught[batch.chosen[here]].to(rows.device)) if len(here) else rows.sum())
        return sum(losses) / len(losses)

    def loss(self, modality: str, rows: Tensor, taught: Tensor) -> Tensor:
        """The loss of n > 0 rows of the student, (n, d), against its teacher's, (n, e)."""
        raise NotImplementedError


class Rows(Distilled):
    """A student's rows become its teacher's: the squared distance between them, as a share of the teacher's variance. It is 0 where they
    are equal, and 1 where the student knows no more than the teacher's mean.

    Args:
        units, taught: see ``Distilled``.
        maps: ``{modality: a map from the student's rows to the teacher's space}``, which train with the student and are left behind
            afterwards. Without one, the rows themselves are compared.
    """

    def __init__(self, units: Units, taught: Mapping[str, Tensor], maps: Mapping[str, nn.Module]) -> None:
        super().__init__(units, taught)
        self.maps = nn.ModuleDict(maps)
        self.variance = {m: variance(rows[units.groups[m] >= 0]) for m, rows in self.taught.items()}

    def loss(self, modality: str, rows: Tensor, taught: Tensor) -> Tensor:
        mapped = self.maps[modality](rows) if modality in self.maps else rows
        return (mapped - taught).square().sum(1).mean() / self.variance[modality]


class Relations(Distilled):
    """To each item, the others of the batch are as near as they are in the teacher's space: the Kullback-Leibler divergence of a softmax
    over cosines from the teacher's (after Passalis & Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV
    2018, whose kernel is another one). It is 0 where all cosines are equal, and needs rows of no particular width."""

    def loss(self, modality: str, rows: Tensor, taught: Tensor) -> Tensor:
        if len(rows) < 3:
            return rows.sum() * 0.0
        wanted, found = nearness(taught), nearness(rows)
        return F.kl_div(found, wanted, log_target=True, reduction="sum") / len(rows)


def nearness(rows: Tensor) -> Tensor:
    """(n, n - 1): the logarithm of how much of an item's attention each other item gets."""
    rows, others = F.normalize(rows, dim=-1), ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    cosines = (rows @ rows.T)[others].view(len(rows), -1)
    return (cosines / RELATION_TEMPERATURE).log_softmax(1)


def variance(rows: Tensor) -> float:
    """The mean squared distance of rows from their mean; 1 where they are all equal."""
    return float((rows - rows.mean(0)).square().sum(1).mean()) or 1.0
