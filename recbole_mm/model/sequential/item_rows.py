"""ItemRows: what the items of histories are to a sequence model, by ids and by content."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_mm.config.kinds import AMOUNT, COUNT, SHARE, SWITCH, Key, choice, or_auto
from recbole_mm.data.sequential_dataset import MultiModalSequentialDataset
from recbole_mm.errors import InputError
from recbole_mm.model.base import ModalityProjection, nearest_mean
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.model.sequential.components import neighbour_components, start_from_components


class ItemRows(FeatureModel, SequentialRecommender):
    """The row e_i of an item: the sum of an id embedding (``use_id``) and one linear map per modality of its features.

    With ``use_id: False`` no parameter belongs to a single item, so items without interactions are read and ranked like any other.

    By ids alone all begins as in RecBole. With content, the maps begin as the features' principal components (see
    ``start_from_components``), unless the encoder itself starts from random weights. Ids begin with what the histories say of them (see
    ``neighbour_components``, ``id_start``), and in each training step those of ``id_dropout`` of the items are hidden: random ids beside
    content would learn by heart what content says.

    Attributes:
        automatic: by key what ``auto`` means by ids alone, and with content.
    """

    keys = {
        "hidden_size": Key("auto", or_auto(COUNT), "Size of item rows and states; auto: 256 with content, 64 by ids alone."),
        "use_id": Key(True, SWITCH, "False: content only; items without interactions are then ranked like any other."),
        "id_dropout": Key(0.5, SHARE, "Share of the items whose id part is hidden in a training step, where there is content."),
        "id_start": Key("auto", choice("auto", "random", "neighbours"), "What ids begin as; auto: neighbours with content, random alone."),
        "initializer_range": Key(0.02, AMOUNT, "Standard deviation of weights and embeddings at the start."),
    }
    automatic: Mapping[str, tuple[object, object]] = {"hidden_size": (64, 256), "id_start": ("random", "neighbours")}

    def __init__(self, config, dataset: MultiModalSequentialDataset) -> None:
        for parent in type(self).__mro__:
            for key, (by_ids, with_content) in vars(parent).get("automatic", {}).items():
                if config[key] == "auto":
                    config[key] = by_ids if config["modalities"] == [] else with_content
        if config["n_heads"] and config["hidden_size"] % config["n_heads"]:
            raise InputError(f"hidden_size {config['hidden_size']} is no multiple of n_heads {config['n_heads']}")
        super().__init__(config, dataset)
        self.use_id, self.initializer_range = config["use_id"], config["initializer_range"]
        self.id_dropout = 0.0 if self.item_features is None else config["id_dropout"]
        fields = dataset.uid_field, dataset.iid_field
        self.training_pairs = tuple(torch.as_tensor(np.asarray(dataset.inter_feat[field])) for field in fields)
        self.starts_by_neighbours = self.use_id and config["id_start"] == "neighbours"
        if self.use_id:
            self.item_embedding = nn.Embedding(self.n_items, config["hidden_size"], padding_idx=0)
        if self.item_features is not None:
            self.content = self.content_map(config, self.item_features.dims)

    @classmethod
    def ranks_new_items(cls, config) -> bool:
        return not config["use_id"]

    def content_map(self, config, dims: Mapping[str, int]) -> nn.Module:
        """What makes the content part of item rows: ``of(item_features, item_ids)`` gives {modality: (n, hidden_size)}, which are added.

        Args:
            dims: the width of each modality's features.
        """
        return ModalityProjection(dims, config["hidden_size"])

    def initialise(self) -> None:
        """Draws the weights of all linear layers and embeddings anew from a normal distribution, but for the encoder's."""
        for name, part in self.named_children():
            if name != "item_features":
                part.apply(self._initialise)

    def _initialise(self, part: nn.Module) -> None:
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.data.normal_(std=self.initializer_range)
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        if isinstance(part, nn.Linear | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)

    def start_training(self) -> None:
        features = self.item_features
        if self.starts_by_neighbours:
            table = self.item_embedding.weight
            table.data.copy_(neighbour_components(*self.training_pairs, *table.shape))
        if features is not None and (features.encoder is None or not features.encoder.from_scratch):
            self.start_content({m: rows[1:] for m, rows in features.table().items()})

    def start_content(self, features: Mapping[str, Tensor]) -> None:
        """Called where training starts from nothing, with the features {modality: (n, width)} of all items."""
        start_from_components(self.content, features)

    def item_rows(self, item_ids: Tensor | None = None) -> Tensor:
        """e_i of items (n,), best without repetition, or of the whole catalogue: (n, hidden_size)."""
        parts: Iterable[Tensor] = ()
        if self.item_features is not None:
            parts = self.content.of(self.item_features, item_ids).values()
        if self.use_id:
            ids = self.item_embedding.weight if item_ids is None else self.item_embedding(item_ids)
            if self.training and self.id_dropout:
                ids = ids * (torch.rand(len(ids), 1, device=ids.device) >= self.id_dropout)
            parts = (*parts, ids)
        return sum(parts)

    @torch.no_grad()
    def item_vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """e_i of items that the model was not trained with, from their features: (n, hidden_size). With ``use_id``, the id embedding is
        that of the known items whose features are nearest (see ``nearest_mean``).

        Args:
            features: rows (n, width) of each modality in use, as ``item_features.table`` has them.
        """
        self.require_features()
        parts = list(self.content(features).values())
        if self.use_id:
            parts.append(nearest_mean(features, self.item_features.table(), self.item_embedding.weight, self.interacted))
        return sum(parts)
