"""RecBole's Collector, which keeps what metrics need of each batch without a matrix of rows and items."""

from collections import defaultdict
from itertools import accumulate

import torch
from recbole.evaluator.collector import Collector, DataStruct
from torch import Tensor

from recbole_mm.evaluation.scores import Candidates, Products, WholeRows

TOGETHER = 64
"""How many batches are compared with what is relevant at once."""


class RankingCollector(Collector):
    """RecBole's Collector, which puts batches together once, at the end, and takes scores in any of the forms of ``evaluation.scores``.

    Attributes:
        are_products: whether the scores of this evaluation are products of two matrices and nothing else; None before the first batch.
    """

    def __init__(self, config) -> None:
        super().__init__(config)
        self.kept: dict[str, list[Tensor]] = defaultdict(list)
        self.waiting: list[tuple[Tensor, ...]] = []
        self._room: Tensor | None = None
        self.are_products: bool | None = None

    def eval_batch_collect(
        self, scores_tensor: WholeRows | Products | Candidates | Tensor, interaction, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Keeps what the metrics need of a batch.

        Args:
            scores_tensor: of rows and items, in one of the forms of ``evaluation.scores``; where items are not ranked, the scores of
                pairs, (n,).
            positive_u, positive_i: the row and the id of each relevant item, (p,) each.
        """
        need = self.register.need
        if need("rec.items") or need("rec.topk"):
            self.waiting.append((scores_tensor.top(max(self.topk)), positive_u, positive_i))
        if need("rec.meanrank"):
            pairs = torch.stack([positive_u, positive_i]).to(self.device)
            self.kept["rec.meanrank"].append(scores_tensor.rank_sums(*torch.unique(pairs, dim=1)))
        if need("rec.score"):
            self.kept["rec.score"].append(scores_tensor.detach().clone())
        if need("data.label"):
            self.kept["data.label"].append(interaction[self.config["LABEL_FIELD"]].to(self.device))
        if isinstance(scores_tensor, WholeRows):
            scores_tensor.release()
        if len(self.waiting) == TOGETHER:
            self._settle()

    def get_data_struct(self) -> DataStruct:
        """All that was kept since the last call, on the device where it is, and what is known of the training data."""
        self._settle()
        struct = DataStruct()
        for key, value in {**self.data_struct._data_dict, **{key: torch.cat(parts) for key, parts in self.kept.items()}}.items():
            struct.set(key, value)
        self.kept.clear()
        self._room = self.are_products = None
        return struct

    def room(self, size: int, like: Tensor) -> Tensor:
        """A buffer for numbers, (size,) at least, of the kind of a tensor, which the batches of an evaluation use one after the other."""
        if self._room is None or len(self._room) < size:
            self._room = like.new_empty(size)
        return self._room

    def _settle(self) -> None:
        """Finds out which of the best items of some batches are relevant."""
        if not self.waiting:
            return
        tops, rows, items = zip(*self.waiting, strict=True)
        top, starts = torch.cat(tops), accumulate(map(len, tops), initial=0)
        if self.register.need("rec.items"):
            self.kept["rec.items"].append(top)
        if self.register.need("rec.topk"):
            rows = torch.cat([of + start for of, start in zip(rows, starts, strict=False)]).to(top.device)
            items = torch.cat(items).to(top.device)
            n_items = int(max(top.max(), items.max())) + 1
            relevant = torch.unique(rows * n_items + items)
            found = torch.arange(len(top), device=top.device).unsqueeze(1) * n_items + top
            hits = relevant[torch.searchsorted(relevant, found).clamp(max=len(relevant) - 1)] == found
            n_relevant = torch.bincount(relevant // n_items, minlength=len(top)).unsqueeze(1)
            self.kept["rec.topk"].append(torch.cat([hits, n_relevant], 1).int())
        self.waiting.clear()
