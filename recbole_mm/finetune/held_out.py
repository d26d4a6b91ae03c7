"""HeldOut: the items that fine-tuning does not see, and how well an encoder does on them."""

from typing import Protocol

import torch
from torch import Tensor

from recbole_mm.encoder import ItemEncoder
from recbole_mm.finetune.categories import unit_categories
from recbole_mm.finetune.retrieval import category_precision, retrieval
from recbole_mm.finetune.settings import FinetuneSettings
from recbole_mm.finetune.units import Split, Units, hold_out
from recbole_mm.items.encoded_items import EncodedItems


class Validation(Protocol):
    """What selects the epoch of a loop.

    Attributes:
        split: which units are held out.
        units: (k,), the held-out units.
    """

    split: Split
    units: Tensor

    def measure(self, items: EncodedItems) -> dict[str, float] | None:
        """What is measured under the present weights: shares, of which more is better. None if nothing can be."""


class HeldOut(Validation):
    """What selects the epoch of fine-tuning.

    Held-out pairs of a picture and a text are retrieved by each other where the encoder has one space for both, unless ``supcon`` is the
    only objective. With ``supcon``, held-out items find items of their category, in each modality by itself; the items that have a
    category are held out if the encoder has no such pairs.

    Args:
        dataset: a MultiModalDataset.
        units: the contents of its items.

    Attributes:
        split: which units are held out.
        units: (k,), the held-out units.

    Raises:
        InputError: ``supcon`` has a weight, and see ``unit_categories``.
    """

    def __init__(self, encoder: ItemEncoder, dataset, units: Units, settings: FinetuneSettings) -> None:
        self._all = units
        self._labels = unit_categories(dataset, units, settings.category_field) if "supcon" in settings.weights else None
        self._pairs = encoder.aligned and set(settings.weights) != {"supcon"} and bool(units.pairs.any())
        self.split = hold_out(units, self._among(), settings.valid_ratio, settings.seed)
        self.units = self.split.held.nonzero().squeeze(1)

    @torch.no_grad()
    def measure(self, items: EncodedItems) -> dict[str, float] | None:
        """What is measured under the present weights: shares, of which more is better. None if nothing can be.

        Returns:
            ``{"image->text R@1": share, ...}``, see ``retrieval``; ``{"image P@10": share, ...}``, see ``category_precision``.
        """
        if not len(self.units):
            return None
        items.encoder.eval()
        return ((self._retrieval(items) if self._pairs else {}) | self._precision(items)) or None

    def _among(self) -> Tensor:
        """bool (n_units,): which units may be held out."""
        if self._pairs:
            return self._all.pairs
        return torch.zeros(len(self._all), dtype=torch.bool) if self._labels is None else self._labels >= 0

    def _retrieval(self, items: EncodedItems) -> dict[str, float]:
        rows = items.encode(self._all.ids[self.units].to(items.device))
        return retrieval(rows["image"], rows["text"], {m: g[self.units].to(items.device) for m, g in self._all.groups.items()})

    def _precision(self, items: EncodedItems) -> dict[str, float]:
        if self._labels is None:
            return {}
        found, known = {}, (self._labels >= 0).nonzero().squeeze(1)
        rows = items.encode(self._all.ids[known].to(items.device))
        for m, groups in self._all.groups.items():
            here = groups[known] >= 0
            labels, held = self._labels[known][here], self.split.held[known][here]
            found[f"{m} P@10"] = category_precision(rows[m][here.to(items.device)], labels.to(items.device), held.to(items.device))
        return {name: share for name, share in found.items() if share is not None}
