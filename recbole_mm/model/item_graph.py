"""ItemGraphRecommender and WeightedGraphRecommender: the bases of recommenders with graphs between items."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_mm.config.kinds import COUNT, Key, Kind, is_amount
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.errors import InputError
from recbole_mm.model.base import tensor_versions
from recbole_mm.model.graph import knn_graph, sum_graphs
from recbole_mm.model.objective import ObjectiveRecommender
from recbole_mm.model.sparse import SparseMatrix

WEIGHTS = Kind(
    "dict", "weights from 0 to 1 of modalities by name, such as {image: 0.1}, or ~",
    lambda v: isinstance(v, Mapping) and all(is_amount(weight) and weight <= 1 for weight in v.values()),
)  # fmt: skip


class ItemGraphRecommender(ObjectiveRecommender):
    """An ObjectiveRecommender with graphs between items that are made from their features (``build_item_graph``).

    ``self.item_graph`` always belongs to the features that the model has. With a frozen encoder it is made once. While an encoder trains,
    it is made anew before every epoch, and within an epoch after every ``item_graph_every`` steps of the run, for which the catalogue is
    encoded anew (never where the key is empty). An evaluation uses the graph of the features that it scores with.
    """

    uses_table = True
    needs_features = True
    keys = {
        "item_graph_every": Key(None, COUNT, "end2end: item graphs are made anew before every epoch, and within it every so many steps."),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.item_graph_every = config["item_graph_every"]

    def build_item_graph(self, features: dict[str, Tensor]) -> object:
        """Makes ``self.item_graph`` from the features of the catalogue, {modality: (n_items, d)}. No gradient is kept."""
        raise NotImplementedError

    @property
    def item_graph(self):
        """What ``build_item_graph`` made of the features that the model has now."""
        outdated = not self.training and self._item_graph_version != tensor_versions(self.encoder_parameters())
        if self._item_graph is None or outdated:
            self._build()
        return self._item_graph

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if self._item_graph_version != tensor_versions(self.encoder_parameters()):
            self._build()

    def start_step(self, step: int) -> None:
        super().start_step(step)
        if self.item_graph_every and step and step % self.item_graph_every == 0 and self.item_features.live:
            self.item_features.refresh()
            self._build()

    def forget_features(self) -> None:
        super().forget_features()
        self._item_graph = None

    def train(self, mode: bool = True) -> "ItemGraphRecommender":
        """As for any module. After training, the graph of an encoder that trains counts as out of date however its weights have changed: an
        optimiser's fused step does not count up the version of a tensor."""
        if mode and self.item_features.live:
            self._item_graph_version = None
        return super().train(mode)

    @torch.no_grad()
    def _build(self) -> None:
        features = {m: rows.detach() for m, rows in self.item_features.table().items()}
        self._item_graph = self.build_item_graph(features)
        self._item_graph_version = None if self.training and self.item_features.live else tensor_versions(self.encoder_parameters())

    _item_graph: object = None
    _item_graph_version: tuple | None = None


class WeightedGraphRecommender(ItemGraphRecommender):
    """An ItemGraphRecommender whose ``item_graph`` is FREEDOM's: S = the sum over the modalities of ``modality_weights`` times
    D^-1/2 S_m D^-1/2, S_m being 1 for the ``knn_k`` items most similar (cosine) to an item in modality m, itself among them, else 0.

    Modalities that ``modality_weights`` does not name share equally what the others leave of 1. An item that lacks a modality has no
    neighbours in that modality's graph and is nobody's neighbour.
    """

    keys = {
        "knn_k": Key(10, COUNT, "Number of neighbours of an item in each modality."),
        "modality_weights": Key(
            {"image": 0.1},
            WEIGHTS,
            "Weights of the modalities' item graphs. Modalities that are not named share equally what is left of 1.",
            may_be_empty=True,
        ),
    }

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.knn_k = config["knn_k"]
        self.modality_weights = spread_weights(config["modality_weights"], self.item_features.modalities)

    def build_item_graph(self, features: dict[str, Tensor]) -> SparseMatrix:
        """The matrix S (n_items, n_items)."""
        graphs = [knn_graph(rows, self.knn_k, absent=~self.item_features.present(m)) for m, rows in features.items()]
        return sum_graphs([graph.binary().normalised() for graph in graphs], [self.modality_weights[m] for m in features]).frozen()


def spread_weights(named: Mapping[str, float] | None, modalities: tuple[str, ...]) -> dict[str, float]:
    """One weight per modality, 1 in total: the weights of ``named``, of which some may not be in use, and equal shares of the rest.

    Raises:
        InputError: ``named`` leaves nothing for the modalities in use.
    """
    named = named or {}
    used = {m: float(named[m]) for m in modalities if m in named}
    others = [m for m in modalities if m not in used]
    weights = used | {m: (1 - sum(used.values())) / len(others) for m in others}
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise InputError(f"modality_weights '{named}' leave nothing for {', '.join(others or modalities)}")
    return {m: weights[m] / total for m in modalities}
