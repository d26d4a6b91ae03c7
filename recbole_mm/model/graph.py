"""Graphs that recommenders share: the training interactions, kNN graphs over items, and propagation through both.

All graphs are sparse. None is kept on disk, since an item graph is out of date as soon as the features it was made from change.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.model.sparse import CELLS_AT_ONCE, NeighbourSum, PairProducts, SparseMatrix

TIE = 1e6


class InteractionGraph:
    """The distinct user-item pairs of the training interactions, or a part of them, as a bipartite graph.

    Users come first among the nodes: user u is node u, and item i is node n_users + i. Degrees, and with them all normalisation, count the
    pairs that this graph holds.

    Attributes:
        users, items: the pairs (E,), sorted by user, then item.
    """

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        self.users, self.items, self.n_users, self.n_items = users, items, n_users, n_items

    @classmethod
    def from_dataset(cls, dataset, device: torch.device | str = "cpu") -> "InteractionGraph":
        """The graph of the interactions that a RecBole data set holds: those of training, if it is the training part."""
        users, items = (dataset.inter_feat[field].long() for field in (dataset.uid_field, dataset.iid_field))
        pairs = torch.unique(users * dataset.item_num + items).to(device)
        return cls(pairs // dataset.item_num, pairs % dataset.item_num, dataset.user_num, dataset.item_num)

    def __len__(self) -> int:
        return len(self.users)

    def degrees(self) -> tuple[Tensor, Tensor]:
        """The number of pairs of each user (n_users,) and of each item (n_items,)."""
        return torch.bincount(self.users, minlength=self.n_users), torch.bincount(self.items, minlength=self.n_items)

    def edge_weights(self) -> Tensor:
        """1 / sqrt(d_u d_i) for each pair: (E,)."""
        of_users, of_items = self.degrees()
        return (of_users[self.users].float() * of_items[self.items].float()).rsqrt()

    def adjacency(self, normalisation: str = "symmetric", self_loops: bool = False) -> SparseMatrix:
        """The square matrix over users and items: D^-1/2 A D^-1/2 (``symmetric``) or D^-1 A (``row``). With ``self_loops``, A + I takes
        the place of A, and its degrees that of A's."""
        nodes = self.n_users + self.n_items
        rows, columns = torch.cat([self.users, self.items + self.n_users]), torch.cat([self.items + self.n_users, self.users])
        if self_loops:
            loops = torch.arange(nodes, device=rows.device)
            rows, columns = torch.cat([rows, loops]), torch.cat([columns, loops])
        degrees = torch.bincount(rows, minlength=nodes).float()
        values = 1 / degrees[rows] if normalisation == "row" else (degrees[rows] * degrees[columns]).rsqrt()
        return SparseMatrix(rows, columns, values, (nodes, nodes), symmetric=normalisation != "row")

    def user_item(self, weighted: bool = True) -> SparseMatrix:
        """The users' rows and items' columns of ``adjacency``, (n_users, n_items): sums up the items of each user. Not ``weighted``, every
        pair counts 1."""
        weights = self.edge_weights() if weighted else torch.ones(len(self), device=self.users.device)
        return SparseMatrix(self.users, self.items, weights, (self.n_users, self.n_items))

    def of_users(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs of some users (n,): the user's place among them and the item, (E',) each."""
        counts = self.degrees()[0]
        starts, counts = (counts.cumsum(0) - counts)[users], counts[users]
        places = torch.arange(len(users), device=users.device).repeat_interleave(counts)
        within = torch.arange(len(places), device=users.device) - (counts.cumsum(0) - counts)[places]
        return places, self.items[starts[places] + within]

    def rows(self, users: Tensor) -> Tensor:
        """The dense rows of some users (n,): 1 for their items, else 0, (n, n_items)."""
        rows = torch.zeros(len(users), self.n_items, device=users.device)
        rows[self.of_users(users)] = 1
        return rows

    def dropout(self, rate: float) -> "InteractionGraph":
        """The graph in which each pair is kept with probability 1 - rate, in both directions or in neither."""
        return self._part(torch.rand(len(self), device=self.users.device) >= rate)

    def sample(self, share: float, weights: Tensor) -> "InteractionGraph":
        """A share of the pairs, drawn one after the other without replacement, with probability proportional to ``weights`` (E,).

        It is drawn by a race of exponential clocks (Efraimidis & Spirakis 2006): every pair has a clock of rate ``weights``, and the pairs
        whose clocks ring first are kept.
        """
        clocks = torch.empty_like(weights, dtype=torch.float64).exponential_() / weights
        kept = torch.zeros(len(self), dtype=torch.bool, device=weights.device)
        kept[clocks.topk(int(share * len(self)), largest=False).indices] = True
        return self._part(kept)

    def _part(self, kept: Tensor) -> "InteractionGraph":
        return InteractionGraph(self.users[kept], self.items[kept], self.n_users, self.n_items)


def propagate(graph: "SparseMatrix | ItemGraph", x: Tensor, layers: int, pool: str = "last") -> Tensor:
    """A^layers x, with A the graph's matrix (n, n): (n, d) in, (n, d) out.

    Args:
        pool: ``last``, or the ``sum`` or the ``mean`` of x, A x, ..., A^layers x.
    """
    total = x
    for _ in range(layers):
        x = graph @ x
        total = x if pool == "last" else total + x
    return total / (layers + 1) if pool == "mean" else total


def light_gcn(adjacency: SparseMatrix, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """The mean of x, A x, ..., A^layers x over a bipartite graph (LightGCN, He et al., SIGIR 2020).

    Args:
        adjacency: A, over the users and then the items.
        users, items: x, (n_users, d) and (n_items, d).

    Returns:
        The users' rows (n_users, d) and the items' rows (n_items, d).
    """
    return propagate(adjacency, torch.cat([users, items]), layers, "mean").split([len(users), len(items)])


@dataclass
class ItemGraph:
    """The k weighted neighbours of each item: ``indices`` (n, k) and ``weights`` (n, k), which may carry a gradient. Unused places have
    weight 0.

    ``graph @ h`` is each item's weighted sum over its neighbours, (n, d), differentiable with respect to h and the weights.
    """

    indices: Tensor
    weights: Tensor

    def __matmul__(self, h: Tensor) -> Tensor:
        return NeighbourSum.apply(self.weights.to(h.dtype), h, self.indices)

    def binary(self) -> "ItemGraph":
        """The graph in which every neighbour has weight 1."""
        return ItemGraph(self.indices, (self.weights != 0).to(self.weights.dtype))

    def normalised(self) -> "ItemGraph":
        """D^-1/2 A D^-1/2 with D the sums of A's rows, even where A is not symmetric (LATTICE). Nodes without a degree get weight 0."""
        degrees = self.weights.sum(1)
        connected = degrees > 0
        scale = torch.where(connected, degrees, 1.0).rsqrt() * connected
        return ItemGraph(self.indices, self.weights * scale.unsqueeze(1) * scale[self.indices])

    def frozen(self) -> SparseMatrix:
        """The graph as a constant matrix (n, n), which is faster in many products."""
        n, k = self.indices.shape
        rows = torch.arange(n, device=self.indices.device).repeat_interleave(k)
        return SparseMatrix(rows, self.indices.flatten(), self.weights.detach().flatten(), (n, n))


def sum_graphs(graphs: list[ItemGraph], scales: list[float | Tensor] | Tensor) -> ItemGraph:
    """scale_1 A_1 + scale_2 A_2 + ..., with a gradient to scales that carry one. The k of the sum is the sum of the graphs' k."""
    weights = [scale * graph.weights for scale, graph in zip(scales, graphs, strict=True)]
    return ItemGraph(torch.cat([graph.indices for graph in graphs], dim=1), torch.cat(weights, dim=1))


def max_graphs(graphs: list[ItemGraph]) -> SparseMatrix:
    """The largest of the graphs' entries at every place, as a constant matrix (n, n). No weight may be negative."""
    n = len(graphs[0].indices)
    firsts = torch.arange(n, device=graphs[0].indices.device).unsqueeze(1) * n
    cells, places = torch.unique(torch.cat([(firsts + graph.indices).flatten() for graph in graphs]), return_inverse=True)
    weights = torch.cat([graph.weights.detach().flatten() for graph in graphs])
    largest = weights.new_zeros(len(cells)).scatter_reduce(0, places, weights, "amax")
    return SparseMatrix(cells // n, cells % n, largest, (n, n))


def knn_graph(features: Tensor, k: int, *, absent: Tensor | None = None) -> ItemGraph:
    """The k nearest neighbours of each item by cosine similarity, which is also their weight. An item is its own first neighbour.

    Args:
        features: (n_items, d), one row per internal item id. Row 0, the padding item, is always absent. Where the features carry a
            gradient, the weights do as well.
        absent: bool (n_items,), items that have no such features. They have no neighbours and are nobody's neighbour.

    Similarities are computed for a few thousand items at a time, never for all n x n pairs at once. Similarities that agree to 6 decimals
    are ties, and the smaller id wins. Where fewer than k items can be neighbours, the remaining places have weight 0.
    """
    normal = functional.normalize(features, dim=-1)
    here = torch.ones(len(features), dtype=torch.bool, device=features.device) if absent is None else ~absent
    here = here & (torch.arange(len(here), device=here.device) != 0)
    with torch.no_grad():
        indices, used = _nearest(normal.detach(), here, k)
    return ItemGraph(indices, PairProducts.apply(normal, indices) * used)


def _first_largest(values: Tensor, k: int) -> Tensor:
    """The columns (n, k) of each row's k largest values, which are whole numbers, in falling order. Of equal values the first column comes
    first, which topk alone does not promise."""
    largest, columns = values.topk(k)
    tied = (values >= largest[:, -1:]).sum(1) > k
    width = values.shape[1]
    if bool(tied.any()):
        places = torch.arange(width, device=values.device)
        columns[tied] = (values[tied].long() * width - places).topk(k).indices
    order = (values.gather(1, columns).long() * width - columns).argsort(1, descending=True)
    return columns.gather(1, order)


def _nearest(normal: Tensor, here: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ids of each item's nearest among the items that are ``here`` (n, k), and which of these places are in use (n, k)."""
    ids = here.nonzero().squeeze(1)
    candidates, n_neighbours = normal[ids], min(k, len(ids))
    indices = torch.zeros(len(normal), k, dtype=torch.long, device=normal.device)
    used = torch.zeros(len(normal), k, dtype=torch.bool, device=normal.device)
    if not n_neighbours:
        return indices, used
    places = torch.arange(len(ids), device=normal.device)
    for rows in places.split(max(1, CELLS_AT_ONCE // len(ids))):
        similarity = (candidates[rows] @ candidates.T).mul_(TIE).round_()
        indices[ids[rows], :n_neighbours] = ids[_first_largest(similarity, n_neighbours)]
    used[ids, :n_neighbours] = True
    return indices, used
