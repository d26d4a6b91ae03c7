"""EASEM: EASE over interactions and item features side by side."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, POSITIVE, WHOLE, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.errors import InputError
from recbole_mm.model.gram import Gram
from recbole_mm.model.item_similarity import DenseSimilarity, NeighbourSimilarity
from recbole_mm.model.similarity import SimilarityRecommender
from recbole_mm.model.sparse import CELLS_AT_ONCE


class EASEM(SimilarityRecommender):
    """EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) whose weights rebuild item features as well.

    score(u, .) = (1 - w) x_u B + w x_u S

    B has a zero diagonal and is the one that minimises ||X - X B||^2 + feature_weight ||Z^T - Z^T B||^2 + reg_weight ||B||^2, with X the
    training interactions (n_users, n_items) and Z the items' features: of each modality in use L2-normalised, side by side
    (``modality_weights``). That is, with G = X^T X + feature_weight Z Z^T + reg_weight I and P = G^-1, B_ji = -P_ji / P_ii. With
    ``feature_weight: 0`` or ``modalities: []`` it is EASE.

    S holds the cosines of each item's ``content_k`` nearest items by content, of those that have interactions, and w is ``score_mix``: with
    ``feature_weight: 0``, this is EASE + content kNN. ``content_k: 0`` leaves it out.

    From ``dense_items`` items on, each item's column of B is found over the ``block_size`` items that are most related to it alone (by
    G_ji / sqrt(G_ii G_jj)), as the exact minimum over these: an approximation of G^-1 by blocks, as in "Markov Random Fields for
    Collaborative Filtering" (Steck, NeurIPS 2019). Time and memory are then linear in the number of items.

    An item without interactions is rebuilt from the features of the others: its column of B is that of a regression of its features on
    theirs, which costs what the items' interactions have in it. So it has scores, lower ones than items with interactions have. Items that
    come later are treated in the same way, over the ``block_size`` items that are most like them.

    Deviation: the paper's approximation shares blocks between items; here every item has a block of its own.
    """

    keys = {
        "reg_weight": Key(200.0, POSITIVE, "Weight of the L2 term. Grid: [50, 100, 200, 500, 1000]."),
        "feature_weight": Key(100.0, AMOUNT, "Weight of the features beside the interactions. Grid: [0, 10, 30, 50, 100, 300]."),
        "content_k": Key(50, WHOLE, "Nearest items by content, whose similarities are the second part of the score. 0: without it."),
        "dense_items": Key(10000, WHOLE, "Up to so many items all weights are found at once, which takes 24 bytes per pair of items."),
        "block_size": Key(200, COUNT, "Beyond that, each item has weights for so many related items."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.reg_weight, self.block_size = config["reg_weight"], min(config["block_size"], self.most_neighbours)
        self.feature_weight = 0.0 if self.item_features is None else config["feature_weight"]
        dense = self.n_items - 1 <= config["dense_items"]
        self.parts["id"] = DenseSimilarity(self.n_items) if dense else NeighbourSimilarity(self.n_items, self.block_size)
        if self.item_features is not None and config["content_k"]:
            self.parts["content"] = NeighbourSimilarity(self.n_items, min(config["content_k"], self.most_neighbours))

    @torch.no_grad()
    def solve(self) -> None:
        gram, part = self._gram(), self.parts["id"]
        if isinstance(part, DenseSimilarity):
            part.values.copy_(self._exact(gram))
        else:
            for items, rows in gram.chunks():
                part.neighbours[items], part.weights[items] = self._over_related(gram, rows, items)
        if "content" in self.parts:
            self.fill_content()

    @torch.no_grad()
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        contents, gram = self.contents(features), self._gram()
        related = contents.new_zeros(len(contents), self.n_items)
        if gram.features is not None:
            neighbours, weights = self._over_related(gram, self.feature_weight**0.5 * contents @ gram.features.T)
            related.scatter_(1, neighbours.long(), weights)
        columns = {"id": related, **({"content": self.content_columns(contents)} if "content" in self.parts else {})}
        return sum(weight * columns[name] for name, weight in zip(self.parts, self.part_weights(), strict=True))

    def _gram(self) -> Gram:
        features = self.feature_weight**0.5 * self.item_contents() if self.feature_weight else None
        return Gram(self.interactions(), features, self.own.device)

    def _exact(self, gram: Gram) -> Tensor:
        """B (n_items, n_items)."""
        matrix = gram.whole()
        matrix.diagonal().add_(self.reg_weight)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            raise InputError(f"reg_weight {self.reg_weight} is too small for these interactions and features: raise it")
        inverse = torch.cholesky_inverse(factor)
        return inverse.div_(-inverse.diagonal()).fill_diagonal_(0)

    def _over_related(self, gram: Gram, rows: Tensor, items: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The ``block_size`` items that are most related to each of some items, and their weights in its column of B: (c, k) each.

        Args:
            rows: G (c, n_items) of these items.
            items: which they are (c,); None for items that came later.
        """
        related = rows / gram.diagonal.add(self.reg_weight).sqrt()
        related[:, 0] = -torch.inf
        if items is not None:
            related[torch.arange(len(items), device=items.device), items] = -torch.inf
        neighbours = related.topk(self.block_size).indices
        targets, weights = rows.gather(1, neighbours).double(), []
        k = neighbours.shape[1]
        ridge = self.reg_weight * torch.eye(k, dtype=torch.float64, device=rows.device)
        for own, target in zip(*(part.split(max(1, CELLS_AT_ONCE // k**2)) for part in (neighbours, targets)), strict=True):
            blocks = torch.stack([gram.block(some).double() for some in own]) + ridge
            weights.append(torch.linalg.solve(blocks, target))
        return neighbours.int(), torch.cat(weights).float()
