"""ItemKNNM: nearest items by interactions and by content."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_mm.config.kinds import AMOUNT, COUNT, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.gram import Gram
from recbole_mm.model.item_similarity import NeighbourSimilarity
from recbole_mm.model.similarity import SimilarityRecommender


class ItemKNNM(SimilarityRecommender):
    """ItemKNN (Deshpande & Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004) by interactions and by content.

    score(u, i) = the sum over the items j that u has of (1 - w) s_ij + w t_ij

    s_ij = c_ij / (sqrt(c_i c_j) + ``shrink``), of the ``k`` items j with the largest: c_ij users have both items, c_i have i. t_ij is the
    mean over the modalities in use (``modality_weights``) of the cosine of the two items' features, of the ``content_k`` items j with the
    largest, among those that have interactions. w is ``score_mix``, chosen on validation. With ``modalities: []`` it is ItemKNN.

    Items without interactions, and items that come later, are scored by t alone.

    Deviation: the columns of neither similarity are scaled to the same length, as in RecBole's ItemKNN.
    """

    keys = {
        "k": Key(100, COUNT, "Nearest items by interactions. Grid: [20, 50, 100, 200, 300]."),
        "shrink": Key(0.0, AMOUNT, "What is added to the denominator of their similarity: it makes those of rare items smaller."),
        "content_k": Key(50, COUNT, "Nearest items by content."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.shrink = config["shrink"]
        self.parts["id"] = NeighbourSimilarity(self.n_items, min(config["k"], self.most_neighbours))
        if self.item_features is not None:
            self.parts["content"] = NeighbourSimilarity(self.n_items, min(config["content_k"], self.most_neighbours))

    @torch.no_grad()
    def solve(self) -> None:
        gram = Gram(self.interactions(), None, self.own.device)
        lengths = gram.counts.sqrt()
        for items, rows in gram.chunks():
            self.parts["id"].fill(items, rows / (lengths[items].unsqueeze(1) * lengths + self.shrink).clamp_min(1e-6))
        if "content" in self.parts:
            self.fill_content()

    @torch.no_grad()
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        return self.part_weights()[-1] * self.content_columns(self.contents(features))
