"""The run without what is forgotten, over the ids that it has: what the correction trains, before the rows of the forgotten are removed."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.quick_start import config_of, data_of, load_state
from recbole_mm.training.build import build_model
from recbole_mm.training.trained_data import REFIT, SPLIT
from recbole_mm.unlearning.request import Forgotten

WHOLE = {"user_inter_num_interval": "[0,inf)", "item_inter_num_interval": "[0,inf)", "resume": None, "log_wandb": False}
"""The settings of an unlearned run that are not those of its run: who has too few interactions has been left out before, and nobody else
is told."""


@dataclass(frozen=True)
class KeptRun:
    """A run over the interactions that stay, dealt as in the run itself.

    Attributes:
        config, model, dataset, train_data, valid_data, test_data: as ``load_data_and_model`` returns them. Users and items have the ids of
            the run, the forgotten ones among them, who have no interaction.
        checkpoint: of the run, with the split of what stays.
    """

    config: MultiModalConfig
    model: AbstractRecommender
    dataset: object
    train_data: AbstractDataLoader
    valid_data: AbstractDataLoader
    test_data: AbstractDataLoader
    checkpoint: Mapping[str, object]

    @property
    def closed_form(self) -> bool:
        """Whether the model is found at once (EASE, ItemKNN): it is not loaded, and will be found anew."""
        return self.config["MODEL_TYPE"] == ModelType.TRADITIONAL

    @property
    def refitted(self) -> bool:
        """Whether the model was trained on validation and test as well (see ``training.refit``)."""
        return REFIT in self.checkpoint

    @property
    def loaders(self) -> tuple[AbstractDataLoader, AbstractDataLoader, AbstractDataLoader]:
        """Those of training, validation and test."""
        return self.train_data, self.valid_data, self.test_data


def kept_run(checkpoint_file: str, forgotten: Forgotten, model_class: type | None = None) -> KeptRun:
    """The run behind a checkpoint over what stays: its model has the checkpoint's weights, those of the forgotten included, and graphs,
    histories and masks know the kept interactions alone.

    Raises:
        InputError: the checkpoint does not fit the data set or the encoder that is there now.
    """
    checkpoint = {**load_checkpoint(checkpoint_file, pickled=True), SPLIT: forgotten.parts}
    config = config_of(checkpoint, model_class).changed(**WHOLE)
    dataset, loaders = data_of(config, checkpoint)
    for part in (dataset, *(loader._dataset for loader in loaders)):  # the forgotten are scored until they are removed
        part.gone_items = part.gone_items[~torch.isin(part.gone_items, forgotten.items)]
    model = build_model(config, loaders[0])
    run = KeptRun(config, model, dataset, *loaders, checkpoint)
    if not run.closed_form:
        empty = [] if is_ours(config.model_class) else [name for name, value in model.other_parameter().items() if value is None]
        load_state(config, model, checkpoint, checkpoint_file)
        model.load_other_parameter(dict.fromkeys(empty))  # where LightGCN, for example, keeps what it made of the whole graph
    return run


def forget_what_was_made(model: AbstractRecommender) -> None:
    """Lets a model make anew what it keeps of its weights between two batches, as LightGCN, for example, does of its final vectors."""
    for name in model.other_parameter():
        if name.startswith("restore_"):
            setattr(model, name, None)
