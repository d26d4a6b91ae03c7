"""The items that are most like an item, or like a query."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_mm.errors import InputError
from recbole_mm.serving.exact import Found
from recbole_mm.serving.item_side import ItemSide
from recbole_mm.serving.ranker import Ranker
from recbole_mm.serving.ranking import best, cosines, standardised


class Neighbours:
    """Finds items by the cosine of their vectors or features.

    Args:
        items: the model's and those added since.
        ranker: for models without vectors.
    """

    def __init__(self, items: ItemSide, ranker: Ranker) -> None:
        self.items, self.ranker = items, ranker

    def of_item(self, token: str, k: int, by: str) -> Found:
        """The k items most like one, without itself (see ``Recommender.similar``).

        Raises:
            InputError: an unknown item or modality, an item that lacks it, or one that a model without vectors was not trained with.
        """
        served = self.items.served
        own, allowed = int(served.rows([token])[0]), served.among(None)
        if by != "model":
            rows, present = self.items.features(by)
            if not present[own]:
                raise InputError(f"item '{token}' has no {by}")
            scores, allowed = cosines(rows[own], rows), allowed & present
        elif self.items.scores.has_vectors():
            vectors = self.items.vectors()
            scores = cosines(vectors[own], vectors)
        elif own >= served.n_known:
            raise InputError(f"{self.items.scores.name} cannot say what is like '{token}', which it was not trained with; give a modality")
        else:
            alone = torch.tensor([own])
            return self.ranker.of_history(alone, k, allowed, alone)
        allowed[own] = False
        return best(scores.masked_fill(~allowed, -torch.inf).unsqueeze(0), k)

    def of_query(self, row: Tensor, modalities: Sequence[str], k: int) -> Found:
        """The k items whose features are most like a row (d,). Over several modalities, the mean of their standardised cosines counts."""
        found = [self.items.features(m) for m in modalities]
        parts = [standardised(cosines(row, rows), present, len(found) > 1) for rows, present in found]
        present = torch.stack([present for _, present in found])
        scores = torch.stack(parts).masked_fill(~present, 0).sum(0) / present.sum(0).clamp_min(1)
        return best(scores.masked_fill(~present.any(0) | ~self.items.served.among(None), -torch.inf).unsqueeze(0), k)
