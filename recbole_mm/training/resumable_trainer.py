"""ResumableTrainer: RecBole's Trainer, whose checkpoints let a run go on as if it had not stopped."""

import time
from collections import OrderedDict
from pathlib import Path

from recbole.trainer import Trainer

from recbole_mm.checkpoint import load_checkpoint, save_checkpoint
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.training.run_state import capture, restore, restore_loader
from recbole_mm.training.trained_data import describe, description

LAST = ".last"
"""What the name of the last epoch's checkpoint adds to that of the best epoch's."""
SAVE_SECONDS = 60.0
"""The last epoch is saved where at least this many seconds have gone by since any checkpoint was written."""


class ResumableTrainer(Trainer):
    """Writes the state of a run (see ``run_state``) and goes on from it.

    ``saved_model_file`` is the checkpoint of the best epoch. While the run goes on there may be one of the last epoch beside it, whose
    name ends in ``.last`` (see ``SAVE_SECONDS``). Where several processes train together, the first one writes. ``init_from`` is what
    ``start_from`` said of the checkpoint that the run started from; None without one.
    """

    def __init__(self, config, model: FeatureModel) -> None:
        self.ranks, self.saving, self.saved_at = Ranks.current(), True, time.monotonic()
        self.train_data = self.valid_result = self.resumed = self.init_from = None
        self.trained_data: dict[str, object] = {}
        super().__init__(config, model)

    def fit(self, train_data, valid_data=None, verbose: bool = True, saved: bool = True, **kwargs) -> tuple[float, OrderedDict]:
        """RecBole's ``fit``; a resumed run starts where it had stopped.

        Raises:
            InputError: the resumed checkpoint was trained on other data.
        """
        self.train_data, self.trained_data = train_data, describe(train_data.dataset)
        self.saving, self.saved_at = saved, time.monotonic()
        if self.resumed is not None:
            restore_loader(train_data, self.resumed, self.saved_model_file)
        if self.start_epoch >= self.epochs > 0:
            self.logger.info(f"Nothing to train: the checkpoint has all {self.epochs} epochs")
            self.eval_collector.data_collect(train_data)
            found = self.best_valid_score, self.best_valid_result
        else:
            found = super().fit(train_data, valid_data, verbose, saved, **kwargs)
        self._remove_last()
        return found

    def resume_checkpoint(self, resume_file: str) -> None:
        """Puts the trainer and its model where they were when the checkpoint was written, or the last epoch's beside it, if that is newer.

        Raises:
            InputError: there is no such file, or it is one of another model, encoder or catalogue. ``fit`` raises where it is one of
                other data.
        """
        file, checkpoint = newest_checkpoint(resume_file)
        restore(self, checkpoint, file)
        self.saved_model_file = file
        self.resumed = {**description(checkpoint), "loader_state": checkpoint["loader_state"]}
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs) -> None:
        """Saves an epoch: the best one so far, or with ``best=False`` the last one."""
        best = kwargs.pop("best", True)
        file = self.saved_model_file + ("" if best else LAST)
        if self.model.item_features is not None:
            self.model.item_features.forget_outdated()  # a run that goes on from this checkpoint will not have it either
        state = capture(self, epoch, best)
        if self.ranks.rank == 0:
            save_checkpoint(state, file)
            if verbose:
                self.logger.info(f"Saving current: {file}")
        if best:
            self._remove_last()
        self.saved_at = time.monotonic()
        self.ranks.wait()

    def _save_last(self, epoch: int) -> None:
        """Saves the last epoch if that is due. While the features of the catalogue are older than the encoder, it waits: a resumed run
        would make them anew, and a run that was never stopped would not."""
        features = self.model.item_features
        due = epoch >= self.start_epoch and time.monotonic() - self.saved_at > SAVE_SECONDS
        if self.saving and self.ranks.agree(due) and not (features is not None and features.stale):
            self._save_checkpoint(epoch, verbose=False, best=False)

    def _remove_last(self) -> None:
        if self.ranks.rank == 0:
            Path(self.saved_model_file + LAST).unlink(missing_ok=True)


def newest_checkpoint(file: str) -> tuple[str, dict]:
    """The name of the best epoch's checkpoint, and the content of that one or of the last epoch's, whichever is newer."""
    file = str(file).removesuffix(LAST)
    existing = [name for name in (file, file + LAST) if Path(name).is_file()] or [file]
    return file, max(map(load_checkpoint, existing), key=lambda checkpoint: checkpoint["epoch"])


def trained_before(config: MultiModalConfig) -> dict[str, object]:
    """What the checkpoint that a run goes on from says of its data: the one to ``resume``, or that of the first of two stages (S3Rec, RaCT,
    ConvNCF). Empty without one."""
    first_stage = config["pre_model_path"]
    if config["resume"] and is_ours(config.model_class):
        checkpoint = newest_checkpoint(config["resume"])[1]
        if "feature_scaling" not in checkpoint["config"] and "feature_scaling" not in config.given_keys:
            config["feature_scaling"] = None  # as in the version that wrote it, which had no such key
        return description(checkpoint)
    if config["resume"]:
        return description(load_checkpoint(config["resume"], pickled=True))
    return description(load_checkpoint(first_stage, pickled=True)) if first_stage and Path(first_stage).is_file() else {}
