"""Agreement: how well a student does what its teacher does on items that it has not learned from."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.finetune.held_out import Validation
from recbole_mm.finetune.retrieval import NEAREST, retrieval
from recbole_mm.finetune.units import Units, hold_out
from recbole_mm.items.encoded_items import EncodedItems


class Agreement(Validation):
    """What selects the epoch of distilling: among the held-out items, how many of an item's nearest ones are its teacher's; and, where the
    student has one space for pictures and texts, how well these find each other.

    Args:
        units: the contents of the catalogue.
        taught: ``{modality: (n_units, d)}``, the teacher's rows.
        aligned: whether the student has one space for pictures and texts.
    """

    def __init__(self, units: Units, taught: Mapping[str, Tensor], aligned: bool, settings: DistilSettings) -> None:
        self._all, self.taught = units, taught
        self.split = hold_out(units, torch.ones(len(units), dtype=torch.bool), settings.valid_ratio, settings.seed)
        self.units = self.split.held.nonzero().squeeze(1)
        self._pairs = units.pairs[self.units].nonzero().squeeze(1) if aligned else self.units[:0]

    @torch.no_grad()
    def measure(self, items: EncodedItems) -> dict[str, float] | None:
        """Shares, of which more is better; None where too few items are held out.

        Returns:
            ``{"image nearest@10": share, ...}``, see ``shared_neighbours``; ``{"image->text R@1": share, ...}``, see ``retrieval``.
        """
        if not len(self.units):
            return None
        items.encoder.eval()
        rows = items.encode(self._all.ids[self.units].to(items.device))
        found = {f"{m} nearest@{NEAREST}": self._neighbours(m, rows[m]) for m in self.taught}
        if len(self._pairs):
            groups = {m: g[self.units[self._pairs]].to(items.device) for m, g in self._all.groups.items()}
            found |= retrieval(*(rows[m][self._pairs.to(items.device)] for m in ("image", "text")), groups)
        return {name: share for name, share in found.items() if share is not None} or None

    def _neighbours(self, modality: str, rows: Tensor) -> float | None:
        here = self._all.groups[modality][self.units] >= 0
        return shared_neighbours(rows[here.to(rows.device)], self.taught[modality][self.units[here]].to(rows.device))


def shared_neighbours(rows: Tensor, taught: Tensor) -> float | None:
    """How many of an item's nearest neighbours by cosine, itself left out, are its neighbours in another space as well.

    Args:
        rows, taught: (n, d) and (n, e), rows of the same n items.

    Returns:
        The mean share, of ten neighbours or of half of the items if these are fewer; None with fewer than three items, which all are
        neighbours.
    """
    n = len(rows)
    if n < 3:
        return None
    k, own = min(NEAREST, n // 2), torch.eye(n, dtype=torch.bool, device=rows.device)
    near = []
    for space in (rows, taught):
        unit = F.normalize(space.float(), dim=-1)
        nearest = (unit @ unit.T).masked_fill(own, -torch.inf).topk(k, 1).indices
        near.append(torch.zeros_like(own).scatter_(1, nearest, True))
    return float((near[0] & near[1]).sum(1).double().mean()) / k
