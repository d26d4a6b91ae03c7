"""Similarities between items, all of them or those of each item's neighbours, and the sums of them that users' items have."""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional


class DenseSimilarity(nn.Module):
    """A similarity of each two items: ``values`` (n_items, n_items), that of the row's item, which a user has, to the column's."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(n_items, n_items))

    def sums(self, items: Tensor, counts: Tensor) -> Tensor:
        """The sums (n, n_items) of the rows of each user's items.

        Args:
            items: those of all users, one user's after another's.
            counts: (n,), how many each user has.
        """
        return functional.embedding_bag(items, self.values, counts.cumsum(0) - counts, mode="sum")

    def matrix(self) -> np.ndarray:
        return self.values.cpu().numpy()


class NeighbourSimilarity(nn.Module):
    """The similarities of each item's k neighbours to it: ``neighbours`` (n_items, k) and ``weights`` (n_items, k). Unused places have
    weight 0."""

    def __init__(self, n_items: int, k: int) -> None:
        super().__init__()
        self.register_buffer("neighbours", torch.zeros(n_items, k, dtype=torch.int32))
        self.register_buffer("weights", torch.zeros(n_items, k))
        self._by_neighbour: tuple | None = None

    @torch.no_grad()
    def fill(self, items: Tensor, similarities: Tensor) -> None:
        """Takes over the k largest similarities of each item (c,) to others, as far as they are positive; ``similarities`` (c, n_items) is
        changed."""
        similarities[torch.arange(len(items), device=items.device), items] = 0
        found = similarities.topk(self.weights.shape[1])
        self.neighbours[items], self.weights[items] = found.indices.int(), found.values.clamp_min(0).float()

    def sums(self, items: Tensor, counts: Tensor) -> Tensor:
        """As ``DenseSimilarity.sums``."""
        starts, columns, values = self._sorted()
        lengths = starts[items + 1] - starts[items]
        ends, users = lengths.cumsum(0), torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        places = torch.arange(int(lengths.sum()), device=items.device)
        places += torch.repeat_interleave(starts[items] - (ends - lengths), lengths)
        n_items = len(self.weights)
        cells = torch.repeat_interleave(users, lengths) * n_items + columns[places]
        return values.new_zeros(len(counts) * n_items).index_add_(0, cells, values[places]).view(-1, n_items)

    def matrix(self) -> sparse.csr_matrix:
        starts, columns, values = (part.cpu().numpy() for part in self._sorted())
        return sparse.csr_matrix((values, columns, starts), (len(self.weights), len(self.weights)))

    def _sorted(self) -> tuple[Tensor, Tensor, Tensor]:
        """The entries by neighbour: where each neighbour's begin (n_items + 1,), the items (m,) and their weights (m,)."""
        version = self.neighbours._version, self.weights._version, self.weights.device
        if self._by_neighbour is None or self._by_neighbour[0] != version:
            used = self.weights != 0
            rows, values = self.neighbours[used].long(), self.weights[used]
            order = torch.argsort(rows, stable=True)
            starts = functional.pad(torch.bincount(rows, minlength=len(self.weights)).cumsum(0), (1, 0))
            self._by_neighbour = version, (starts, used.nonzero()[:, 0][order], values[order])
        return self._by_neighbour[1]
