"""Graphs that recommenders share: the training interactions, kNN graphs over items, and propagation through both.

Sparse throughout. Nothing here keeps a graph on disk: an item graph is only as good as the features it came from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.model.sparse import CELLS_AT_ONCE, NeighbourSum, PairProducts, SparseMatrix

TIE = 1e6


class InteractionGraph:
    """The distinct user-item pairs of the training interactions, or a part of them, as a bipartite graph.

    Nodes are numbered users first: user u is node u, item i is node n_users + i. Degrees, and so all normalisation, are those of the
    pairs that this graph holds.

    Attributes:
        users, items: the pairs (E,), sorted by user, then item.
    """

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        self.users, self.items, self.n_users, self.n_items = users, items, n_users, n_items

    @classmethod
    def from_dataset(cls, dataset, device: torch.device | str = "cpu") -> "InteractionGraph":
        """Of the (training) interactions that a RecBole data set holds."""
        users, items = (dataset.inter_feat[field].long() for field in (dataset.uid_field, dataset.iid_field))
        pairs = torch.unique(users * dataset.item_num + items).to(device)
        return cls(pairs // dataset.item_num, pairs % dataset.item_num, dataset.user_num, dataset.item_num)

    def __len__(self) -> int:
        return len(self.users)

    def degrees(self) -> tuple[Tensor, Tensor]:
        """How many pairs each user (n_users,) and each item (n_items,) is in."""
        return torch.bincount(self.users, minlength=self.n_users), torch.bincount(self.items, minlength=self.n_items)

    def edge_weights(self, normalisation: str = "symmetric") -> Tensor:
        """(E,) of each pair: ``symmetric`` 1 / sqrt(d_u d_i), ``row`` 1 / d_u, ``none`` 1."""
        of_users, of_items = self.degrees()
        return _normalise(normalisation, of_users[self.users].float(), of_items[self.items].float())

    def adjacency(self, normalisation: str = "symmetric", self_loops: bool = False) -> SparseMatrix:
        """The square matrix over users and items: D^-1/2 A D^-1/2 (``symmetric``), D^-1 A (``row``), or A (``none``), where
        ``self_loops`` puts A + I for A (and its degrees for A's)."""
        nodes = self.n_users + self.n_items
        rows, columns = torch.cat([self.users, self.items + self.n_users]), torch.cat([self.items + self.n_users, self.users])
        if self_loops:
            loops = torch.arange(nodes, device=rows.device)
            rows, columns = torch.cat([rows, loops]), torch.cat([columns, loops])
        degrees = torch.bincount(rows, minlength=nodes).float()
        values = _normalise(normalisation, degrees[rows], degrees[columns])
        return SparseMatrix(rows, columns, values, (nodes, nodes), symmetric=normalisation != "row")

    def user_item(self, normalisation: str = "symmetric") -> SparseMatrix:
        """The users' rows and items' columns of ``adjacency``, (n_users, n_items): sums up the items of each user."""
        return SparseMatrix(self.users, self.items, self.edge_weights(normalisation), (self.n_users, self.n_items))

    def dropout(self, rate: float) -> "InteractionGraph":
        """Each pair kept with probability 1 - rate, both of its directions or neither."""
        return self._part(torch.rand(len(self), device=self.users.device) >= rate)

    def sample(self, share: float, weights: Tensor) -> "InteractionGraph":
        """``share`` of the pairs, drawn one after the other without replacement with probability proportional to ``weights`` (E,).

        By the race of exponential clocks (Efraimidis & Spirakis 2006): the pairs whose clocks of rate ``weights`` ring first.
        """
        clocks = torch.empty_like(weights, dtype=torch.float64).exponential_() / weights
        kept = torch.zeros(len(self), dtype=torch.bool, device=weights.device)
        kept[clocks.topk(int(share * len(self)), largest=False).indices] = True
        return self._part(kept)

    def _part(self, kept: Tensor) -> "InteractionGraph":
        return InteractionGraph(self.users[kept], self.items[kept], self.n_users, self.n_items)


def _normalise(normalisation: str, of_rows: Tensor, of_columns: Tensor) -> Tensor:
    if normalisation == "symmetric":
        return (of_rows * of_columns).rsqrt()
    return {"row": 1 / of_rows, "none": torch.ones_like(of_rows)}[normalisation]


def propagate(adjacency: SparseMatrix, x: Tensor, layers: int, combine: str = "mean") -> Tensor:
    """x, A x, A^2 x, ..., A^layers x combined by their ``mean`` (LightGCN, He et al., SIGIR'20) or ``sum``, or the ``last``: (n, d)."""
    outputs = [x]
    for _ in range(layers):
        outputs.append(adjacency @ outputs[-1])
    if combine == "last":
        return outputs[-1]
    total = sum(outputs[1:], x)
    return {"mean": total / len(outputs), "sum": total}[combine]


def light_gcn(adjacency: SparseMatrix, users: Tensor, items: Tensor, layers: int, combine: str = "mean") -> tuple[Tensor, Tensor]:
    """``propagate`` over a bipartite adjacency: (n_users, d) and (n_items, d) in, the same out."""
    return propagate(adjacency, torch.cat([users, items]), layers, combine).split([len(users), len(items)])


@dataclass
class ItemGraph:
    """k weighted neighbours of each item: ``indices`` (n, k) and ``weights`` (n, k), which may carry gradient. Unused places weigh 0.

    ``graph @ h`` is each item's weighted sum over its neighbours, (n, d), differentiable with respect to h and the weights.
    """

    indices: Tensor
    weights: Tensor

    def __matmul__(self, h: Tensor) -> Tensor:
        return NeighbourSum.apply(self.weights.to(h.dtype), h, self.indices)

    def binary(self) -> "ItemGraph":
        """Every neighbour weighs 1."""
        return ItemGraph(self.indices, (self.weights != 0).to(self.weights.dtype))

    def normalised(self) -> "ItemGraph":
        """D^-1/2 A D^-1/2 with D the sums of A's rows, also where A is not symmetric (LATTICE's); nodes of no degree weigh 0."""
        degrees = self.weights.sum(1)
        connected = degrees > 0
        scale = torch.where(connected, degrees, 1.0).rsqrt() * connected
        return ItemGraph(self.indices, self.weights * scale.unsqueeze(1) * scale[self.indices])

    def frozen(self) -> SparseMatrix:
        """As a constant matrix (n, n), for many products with it."""
        n, k = self.indices.shape
        rows = torch.arange(n, device=self.indices.device).repeat_interleave(k)
        return SparseMatrix(rows, self.indices.flatten(), self.weights.detach().flatten(), (n, n))


def sum_graphs(graphs: list[ItemGraph], scales: list[float | Tensor] | Tensor) -> ItemGraph:
    """scale_1 A_1 + scale_2 A_2 + ..., with gradient to scales that carry one; its k is the sum of theirs."""
    weights = [scale * graph.weights for scale, graph in zip(scales, graphs, strict=True)]
    return ItemGraph(torch.cat([graph.indices for graph in graphs], dim=1), torch.cat(weights, dim=1))


def knn_graph(features: Tensor, k: int, *, exclude_self: bool = False, absent: Tensor | None = None) -> ItemGraph:
    """Each item's k nearest by cosine, weighing their cosine, with gradient to ``features`` where they carry one.

    Args:
        features: (n_items, d), a row an internal item id. Row 0, the padding item, is always absent.
        exclude_self: an item is no neighbour of its own (in LATTICE and FREEDOM it is, its first).
        absent: bool (n_items,), items that have no such features: they are nobody's neighbours and have none.

    The similarities of a few thousand items at a time with all others are all that is held, never n x n. Similarities that agree to
    6 decimals are ties, which the smaller id wins. Where fewer than k items can be neighbours, the places left weigh 0.
    """
    normal = functional.normalize(features, dim=-1)
    here = torch.ones(len(features), dtype=torch.bool, device=features.device) if absent is None else ~absent
    here = here & (torch.arange(len(here), device=here.device) != 0)
    with torch.no_grad():
        indices, used = _nearest(normal.detach(), here, k, exclude_self)
    return ItemGraph(indices, PairProducts.apply(normal, indices) * used)


def _first_largest(values: Tensor, k: int) -> Tensor:
    """Columns (n, k) of each row's k largest among whole numbers, falling; of equal ones the first, which topk alone leaves open."""
    largest, columns = values.topk(k)
    tied = (values >= largest[:, -1:]).sum(1) > k
    width = values.shape[1]
    if bool(tied.any()):
        places = torch.arange(width, device=values.device)
        columns[tied] = (values[tied].long() * width - places).topk(k).indices
    order = (values.gather(1, columns).long() * width - columns).argsort(1, descending=True)
    return columns.gather(1, order)


def _nearest(normal: Tensor, here: Tensor, k: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    """indices (n, k) of the nearest, and which of these places are in use (n, k)."""
    ids = here.nonzero().squeeze(1)
    candidates, n_neighbours = normal[ids], min(k, len(ids) - exclude_self)
    indices = torch.zeros(len(normal), k, dtype=torch.long, device=normal.device)
    used = torch.zeros(len(normal), k, dtype=torch.bool, device=normal.device)
    if n_neighbours <= 0:
        return indices, used
    places = torch.arange(len(ids), device=normal.device)
    for rows in places.split(max(1, CELLS_AT_ONCE // len(ids))):
        similarity = (candidates[rows] @ candidates.T).mul_(TIE).round_()
        if exclude_self:
            similarity[torch.arange(len(rows), device=rows.device), rows] = -2 * TIE
        indices[ids[rows], :n_neighbours] = ids[_first_largest(similarity, n_neighbours)]
    used[ids, :n_neighbours] = True
    return indices, used
