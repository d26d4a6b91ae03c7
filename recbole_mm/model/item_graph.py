"""ItemGraphRecommender: the base of recommenders with graphs between items."""

import torch
from torch import Tensor

from recbole_mm.config.kinds import COUNT, Key
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.model.base import EmbeddingRecommender, tensor_versions


class ItemGraphRecommender(EmbeddingRecommender):
    """An EmbeddingRecommender with graphs between items that are made from their features (``build_item_graph``).

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
