"""MultiModalRecommender: what every recommender of this package is."""

from collections.abc import Mapping

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor

from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.feature import ItemFeatures


class MultiModalRecommender(GeneralRecommender):
    """A RecBole GeneralRecommender whose items have features.

    ``item_features`` is the ItemFeatures that the configuration asks for (None with ``modalities: []``); whether they come from a
    table or from a live encoder is no concern of the model's. Subclasses build on it, and implement RecBole's ``calculate_loss``,
    ``predict`` and ``full_sort_predict``.

    Attributes:
        choices: what the model's own keys may hold, ``{key: values}``; checked when the configuration is read.
        uses_table: its loss reads the features of the whole catalogue (``item_features.table``), as graph models do; with a live
            encoder the rows outside the batch are then re-encoded every ``refresh_every`` epochs.
        default_settings: keys of its own with their defaults, for a model that has no file in properties/model/.
    """

    choices: Mapping[str, tuple] = {}
    uses_table: bool = False
    default_settings: Mapping[str, object] = {}

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        self.item_features = None if config["modalities"] == [] else ItemFeatures.from_config(config, dataset)

    def start_epoch(self, epoch: int) -> None:
        """Called before every training epoch: for what is rebuilt then, such as item graphs."""

    def encoder_parameters(self) -> list[torch.nn.Parameter]:
        """The parameters of the encoder that train (none where it is frozen)."""
        if self.item_features is None or not self.item_features.trainable:
            return []
        return [p for p in self.item_features.encoder.parameters() if p.requires_grad]

    def trained_state(self) -> dict[str, torch.Tensor]:
        """``state_dict()`` without the encoder's parameters that do not train: what a checkpoint holds."""
        untrained = self.untrained_keys()
        return {key: value for key, value in self.state_dict().items() if key not in untrained}

    def untrained_keys(self) -> set[str]:
        """Those of ``state_dict()`` that come from the encoder's weights and stay as they are."""
        frozen = "item_features.encoder."
        return {name for name, p in self.named_parameters() if name.startswith(frozen) and not p.requires_grad}


class UserPositives:
    """Which items a user has interacted with in training, as sorted (user, item) codes: a batched look-up in n log N."""

    def __init__(self, users: np.ndarray, items: np.ndarray, n_items: int) -> None:
        self.n_items = n_items
        self.codes = torch.from_numpy(np.unique(users.astype(np.int64) * n_items + items.astype(np.int64)))

    def among(self, users: Tensor, items: Tensor) -> Tensor:
        """bool (n_users, n_candidates): has that user (n_users,) interacted with that item (n_candidates,)?"""
        self.codes = self.codes.to(users.device)
        wanted = users.unsqueeze(1) * self.n_items + items.unsqueeze(0)
        at = torch.searchsorted(self.codes, wanted).clamp(max=len(self.codes) - 1)
        return self.codes[at] == wanted
