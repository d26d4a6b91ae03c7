"""FeatureModel: what all our recommenders have in common, whichever class of RecBole's they are built on."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_mm.config.kinds import Key
from recbole_mm.config.registry import OurModel
from recbole_mm.data.dataset import MultiModalDataset
from recbole_mm.errors import InputError
from recbole_mm.feature.build import build_features


class FeatureModel(OurModel):
    """A mixin that stands before one of RecBole's classes of recommenders, whose items have features then.

    ``item_features`` is the ItemFeatures that the configuration asks for, or None with ``modalities: []``. The model does not need to know
    whether they come from a table or from an encoder that trains with it. Subclasses implement RecBole's ``calculate_loss``, ``predict``
    and ``full_sort_predict``.

    Attributes:
        keys: the configuration keys that the class declares, with default, kind and help. Those of base classes hold as well. A value
            is checked when the configuration is read.
        default_settings: values that the class starts from for keys that it does not declare, RecBole's ``epochs`` for example.
        uses_table: whether the loss reads the features of the whole catalogue (``item_features.table``), as graph models do. With an
            encoder that trains, the rows outside the batch are then encoded anew every ``refresh_every`` epochs.
        loss_names: what the parts of ``calculate_loss`` are called in the log and in TensorBoard, in their order: ``recommendation``,
            ``contrastive``, ``regularisation``, ... Parts without a name have a number.
        needs_features: whether the model cannot do without item features (``modalities: []``).
        score_mix: the weight of the second of two ``score_parts``, from 0 to 1; None where they are added as they are.
        interacted: bool (n_items,), the items that have training interactions.
    """

    keys: Mapping[str, Key] = {}
    default_settings: Mapping[str, object] = {}
    uses_table: bool = False
    loss_names: Sequence[str] = ()
    needs_features: bool = False
    other_parameter_name = ("score_mix",)

    def __init__(self, config, dataset: MultiModalDataset) -> None:
        super().__init__(config, dataset)
        if self.needs_features and config["modalities"] == []:
            raise InputError(f"{type(self).__name__} needs item features: modalities: [] gives it none")
        self.item_features = None if config["modalities"] == [] else build_features(config, dataset)
        self.score_mix = None if config["score_mix"] == "auto" else config["score_mix"]
        known = torch.zeros(self.n_items, dtype=torch.bool)
        known[torch.as_tensor(np.asarray(dataset.inter_feat[self.ITEM_ID]), dtype=torch.int64)] = True
        self.register_buffer("interacted", known, persistent=False)

    @classmethod
    def ranks_new_items(cls, config) -> bool:
        """Whether a trained model ranks items that came later by their content, because no parameter belongs to a single item."""
        return False

    def start_training(self) -> None:
        """Called once, before the first epoch of a run that starts from nothing (neither ``resume`` nor ``init_from``)."""

    def start_epoch(self, epoch: int) -> None:
        """Called before every training epoch. Models override it to rebuild things such as item graphs."""

    def start_step(self, step: int) -> None:
        """Called before every training batch, with the number of batches that the run has had before it."""

    def learning_rate_factor(self, epoch: int) -> float:
        """The factor of the recommender's learning rate in an epoch; 1 unless a model's paper has a schedule."""
        return 1.0

    def require_features(self) -> None:
        """Raises an InputError where there are no features from which items could be ranked that the model was not trained with."""
        if self.item_features is None:
            raise InputError(f"{type(self).__name__} without item features cannot rank items that it was not trained with")

    def forget_features(self) -> None:
        """Drops all that was computed from the item features outside of training, which somebody else has changed."""

    def remake_derived(self) -> None:
        """Makes anew what the state holds of ids, not of weights: called where users or items have gone, and their rows with them."""

    def score_parts(self) -> dict[str, slice]:
        """For a score that is a sum of parts (``id``, ``content``): the columns of the final embeddings that make each part. Two of them
        can be weighed (``score_mix``)."""
        return {}

    def part_scores(self, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """What each of the ``score_parts`` gives pairs of a user and an item (n,), as it is added: (n,) each."""
        raise NotImplementedError

    def ranked(self, rows: Tensor) -> Tensor:
        """Final embeddings (n, d) of users or items as scores take them: as they are, unless a subclass ranks by the cosine."""
        return rows

    def part_weights(self) -> list[float]:
        """What each of the ``score_parts`` is multiplied by."""
        mix = 0.5 if self.score_mix is None else self.score_mix
        return [2 * (1 - mix), 2 * mix]

    def encoder_parameters(self) -> list[torch.nn.Parameter]:
        """The parameters of the encoder that train; none where it is frozen."""
        if self.item_features is None or not self.item_features.trainable:
            return []
        return [p for p in self.item_features.encoder.parameters() if p.requires_grad]

    def cross_parameters(self) -> list[torch.nn.Parameter]:
        """The parameters of a cross-attention between pictures and texts; none without one."""
        cross = None if self.item_features is None else self.item_features.cross
        return [] if cross is None else list(cross.parameters())

    def trained_state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint holds: ``state_dict()`` without those parameters of the encoder that do not train."""
        untrained = self.untrained_keys()
        return {key: value for key, value in self.state_dict().items() if key not in untrained}

    def untrained_keys(self) -> set[str]:
        """The keys of ``state_dict()`` that come from the encoder's weights and stay as they are."""
        frozen = "item_features.encoder."
        return {name for name, p in self.named_parameters() if name.startswith(frozen) and not p.requires_grad}
