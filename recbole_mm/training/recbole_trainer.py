"""RecBole's trainers for RecBole's models, whose checkpoints are written whole and say what they were trained on."""

import os
from collections.abc import Mapping
from functools import lru_cache

import torch
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.trainer import Trainer
from recbole.utils import ModelType, get_trainer

from recbole_mm.checkpoint import fitting, load_checkpoint, plain, save_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.evaluation.ranker import RanksQuickly
from recbole_mm.training.epochs import TellsRecBolesEpochs
from recbole_mm.training.optimiser import fused
from recbole_mm.training.row_gradients import use_row_gradients
from recbole_mm.training.trained_data import check_ids, check_resumable, describe, description

FOUND = ("interaction_matrix", "item_similarity", "item_means", "w")
"""What RecBole's models without epochs (ItemKNN, EASE, SLIM, ...) find in the training interactions. They name a part of it alone, and make
the rest anew of whatever split the data set has when they are loaded."""


class RecBoleTraining:
    """A mixin that stands before one of RecBole's trainers."""

    def __init__(self, config, model: AbstractRecommender) -> None:
        self.trained_data: dict[str, object] = {}
        self.resumed: Mapping | None = None
        self.valid_result: Mapping[str, float] | None = None
        super().__init__(config, model)
        if config["fast_loop"]:
            use_row_gradients(config, model)

    def _build_optimizer(self, **kwargs) -> torch.optim.Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        return fused(optimizer) if self.config["fast_loop"] else optimizer

    def fit(self, train_data, *args, **kwargs) -> tuple:
        """RecBole's ``fit``.

        Raises:
            InputError: the resumed checkpoint was trained on other data.
        """
        self.trained_data = describe(train_data._dataset)
        if self.resumed is not None:
            check_resumable(self.resumed, train_data._dataset, self.saved_model_file)
        return super().fit(train_data, *args, **kwargs)

    def resume_checkpoint(self, resume_file: str) -> None:
        """RecBole's ``resume_checkpoint``.

        Raises:
            InputError: there is no such checkpoint, or it is one of another model or does not fit the data set.
        """
        checkpoint = load_checkpoint(resume_file, pickled=True)
        if checkpoint["config"]["model"] != self.config["model"]:
            raise InputError(f"{resume_file} is a checkpoint of {checkpoint['config']['model']}, not of {self.config['model']}")
        self.resumed = description(checkpoint)
        with fitting(resume_file):
            super().resume_checkpoint(resume_file)
        self.best_valid_result = checkpoint.get("best_valid_result")

    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model: bool = True, model_file: str | None = None, show_progress: bool = False):
        """RecBole's ``evaluate``.

        Raises:
            InputError: the checkpoint is not there, or does not fit the data set.
        """
        if eval_data and load_best_model:
            file = model_file or self.saved_model_file
            checkpoint = load_checkpoint(file, pickled=True)
            check_ids(checkpoint, eval_data.dataset, file)
            load_recbole_state(self.model, checkpoint, file)
            self.logger.info(f"Loading model structure and parameters from {file}")
        return super().evaluate(eval_data, False, None, show_progress)

    def save_pretrained_model(self, epoch: int, saved_model_file: str) -> None:
        """Saves a model that was trained for the first of two stages (S3Rec, RaCT)."""
        save_checkpoint(self._state(epoch), saved_model_file)
        self.saved_model_file = saved_model_file

    def _valid_epoch(self, *args, **kwargs) -> tuple[float, Mapping[str, float]]:
        score, self.valid_result = super()._valid_epoch(*args, **kwargs)
        return score, self.valid_result

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs) -> None:
        if not self.config["single_spec"] and self.config["local_rank"] != 0:
            return
        file = kwargs.pop("saved_model_file", self.saved_model_file)
        save_checkpoint(self._state(epoch), file)
        if verbose:
            self.logger.info(f"Saving current: {file}")

    def _state(self, epoch: int) -> dict:
        """What RecBole's checkpoints hold, and what the run is trained on. Modules that a model lists beside its state (DIN, SASRecF) would
        bring the whole data set with them; their weights are in the state. Of models without epochs all of ``FOUND`` is kept."""
        other = {name: value for name, value in self.model.other_parameter().items() if not isinstance(value, torch.nn.Module)}
        if self.config["MODEL_TYPE"] == ModelType.TRADITIONAL:
            other |= {name: value for name in FOUND if (value := getattr(self.model, name, None)) is not None}
        return {
            "config": {**plain(self.config.final_config_dict), "data_path": os.path.abspath(self.config["data_path"])},
            **self.trained_data,
            "epoch": max(epoch, self.start_epoch - 1),  # RecBole calls it -1 where a resumed run has nothing to train
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": plain(self.valid_result or self.best_valid_result),
            "state_dict": self.model.state_dict(),
            "other_parameter": other,
            "optimizer": self.optimizer.state_dict(),
        }


@lru_cache
def _before(base: type[Trainer]) -> type[Trainer]:
    before = (TellsRecBolesEpochs, RecBoleTraining, RanksQuickly)
    return type(base.__name__, (*before, base), {"__doc__": base.__doc__, "__module__": __name__})


def recbole_trainer(config, model: AbstractRecommender):
    """RecBole's trainer of one of its models, with the mixins before it, unless it is one for decision trees, which shares nothing
    with the others."""
    base = get_trainer(config["MODEL_TYPE"], config["model"])
    return (_before(base) if issubclass(base, Trainer) else base)(config, model)


def load_recbole_state(model: AbstractRecommender, checkpoint: Mapping, file: str) -> None:
    """Loads a checkpoint's weights into a model of RecBole's.

    Raises:
        InputError: they do not fit.
    """
    with fitting(file):
        model.load_state_dict(checkpoint["state_dict"])
    other = checkpoint.get("other_parameter") or {}
    model.load_other_parameter({name: value.to(model.device) if torch.is_tensor(value) else value for name, value in other.items()})
