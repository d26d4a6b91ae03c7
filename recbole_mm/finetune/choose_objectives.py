"""Which of the objectives that were asked for are possible with an encoder and a data set."""

import torch
from torch import Tensor, nn

from recbole_mm.data.tokens import user_tokens
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.joint import JointEncoder
from recbole_mm.encoder.pretraining_heads import PretrainingHeads, drawn
from recbole_mm.errors import InputError, listed
from recbole_mm.finetune.categories import unit_categories
from recbole_mm.finetune.copurchases import Copurchases
from recbole_mm.finetune.objectives import Categories, Contrastive, Interaction, MaskedLanguage, Matching, Objective, SupervisedContrast
from recbole_mm.finetune.settings import FinetuneSettings, LoopSettings
from recbole_mm.finetune.units import Units


class Chooser:
    """Makes the objectives of a loop, or says why one is not possible. A subclass has a method for each, with its name after an
    underscore.

    Args:
        units: the contents of the items.
        trained: bool (n_units,), the units that may be trained on.

    Attributes:
        otherwise: what the user might do where no objective is possible.
    """

    otherwise = ""

    def __init__(self, encoder: ItemEncoder, units: Units, trained: Tensor, settings: LoopSettings) -> None:
        self.encoder, self.units, self.trained, self.settings = encoder, units, trained, settings

    def choose(self) -> nn.ModuleDict:
        """``{name: Objective}`` for all weights of the settings. An objective that only the default names is left out if it is not
        possible.

        Raises:
            InputError: an objective that the user asked for is not possible, or none is.
        """
        chosen, refused, key = nn.ModuleDict(), [], f"{self.settings.prefix}_weights"
        for name in self.settings.weights:
            try:
                chosen[name] = getattr(self, f"_{name}")()
            except InputError as error:
                if name in self.settings.asked_for:
                    raise InputError(f"{key}: {name}: {error}") from error
                refused.append(f"{name}: {error}")
        if not chosen:
            raise InputError(f"{key} leave nothing to learn ({'; '.join(refused)}){self.otherwise}")
        return chosen

    def _itc(self) -> Objective:
        pairs = self._pairs()
        if not self.encoder.aligned:
            raise InputError(f"the image and text rows of {self.encoder.name} do not lie in one space")
        self.encoder.similarity()
        return Contrastive(pairs)

    def _pairs(self) -> Tensor:
        if not {"image", "text"} <= set(self.encoder.modalities):
            raise InputError(f"{self.encoder.name} reads only {listed(self.encoder.modalities)}, not pictures and texts")
        pairs = self.units.pairs & self.trained
        if int(pairs.sum()) < 2:
            raise InputError(f"only {int(self.units.pairs.sum())} items have both a picture and a text, counting those that are held out")
        return pairs


class ObjectiveChooser(Chooser):
    """The objectives of fine-tuning.

    Args:
        dataset: a MultiModalDataset whose interactions are the training ones.
    """

    otherwise = "; clce, supcon and interaction are possible with any encoder"

    def __init__(self, encoder: ItemEncoder, dataset, units: Units, trained: Tensor, settings: FinetuneSettings) -> None:
        super().__init__(encoder, units, trained, settings)
        self.dataset = dataset

    def _itm(self) -> Objective:
        return Matching(self._pairs(), self._heads())

    def _mlm(self) -> Objective:
        pairs, heads = self._pairs(), self._heads()
        if self.encoder.mask_id is None:
            raise InputError(f"the tokenizer of {self.encoder.name} has no mask token")
        return MaskedLanguage(pairs, heads)

    def _clce(self) -> Objective:
        labels = unit_categories(self.dataset, self.units, self.settings.category_field)
        heads = {m: self._classifier(m, int(labels.max()) + 1) for m in self.units.groups}
        return Categories(labels.where(self.trained, -1), heads)

    def _supcon(self) -> Objective:
        labels = unit_categories(self.dataset, self.units, self.settings.category_field).where(self.trained, -1)
        if not bool((torch.bincount(labels[labels >= 0]) > 1).any()):
            raise InputError(f"no two items have the same {self.settings.category_field} (category_field)")
        return SupervisedContrast(labels)

    def _classifier(self, modality: str, n_classes: int) -> nn.Module:
        return drawn(lambda: nn.Linear(self.encoder.output_dims[modality], n_classes), self.settings.seed)

    def _interaction(self) -> Objective:
        dataset = self.dataset
        users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
        copurchases = Copurchases(users, items, user_tokens(dataset), self.units, self.trained)
        if not bool(copurchases.paired().any()):
            raise InputError("no user has two items with a picture or a text in the training part")
        return Interaction(copurchases)

    def _heads(self) -> PretrainingHeads:
        if "joint" not in self.encoder.modalities:
            raise InputError(f"{self.encoder.name} does not read pictures and texts in one pass")
        if not isinstance(self.encoder, JointEncoder) or self.encoder.pretraining_heads is None:
            raise InputError(f"{self.encoder.name} has no heads for it (see JointEncoder)")
        return self.encoder.pretraining_heads
