"""ResumableTrainer: RecBole's Trainer, whose checkpoints a run goes on from as if it had not stopped."""

import time
from collections import OrderedDict
from pathlib import Path

from recbole.trainer import Trainer

from recbole_mm.checkpoint import save_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.model.base import MultiModalRecommender
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.training.resume import LAST, data_fingerprint, resume, state_of

SAVE_SECONDS = 60.0


class ResumableTrainer(Trainer):
    """Checkpoints hold the model's state (of a frozen encoder nothing), the optimiser, and every random state. There is one of the best
    epoch, and beside it (``.last``), while the run goes on, one of the last epoch, where ``SAVE_SECONDS`` have gone by since either was
    written. Of several processes the first writes.
    """

    def __init__(self, config, model: MultiModalRecommender) -> None:
        self.ranks, self.saving, self.saved_at = Ranks.current(), True, time.monotonic()
        self.valid_result = self.loader = self.data = self.resumed_loader = self.resumed_data = None
        super().__init__(config, model)

    def fit(self, train_data, valid_data=None, verbose: bool = True, saved: bool = True, **kwargs) -> tuple[float, OrderedDict]:
        """RecBole's, from where a resumed run has stopped.

        Raises:
            InputError: the run was one on other data.
        """
        self.loader, self.data = train_data, data_fingerprint(train_data.dataset)
        self.saving, self.saved_at = saved, time.monotonic()
        if self.resumed_data not in (None, self.data):
            raise InputError(f"{self.saved_model_file} was trained on other data: another data set, split, seed or filter")
        if self.resumed_loader is not None:
            train_data.generator.set_state(self.resumed_loader.cpu())
        if self.start_epoch >= self.epochs > 0:
            self.logger.info(f"Nothing to train: the checkpoint has all {self.epochs} epochs")
            self.eval_collector.data_collect(train_data)
            found = self.best_valid_score, self.best_valid_result
        else:
            found = super().fit(train_data, valid_data, verbose, saved, **kwargs)
        self._remove_last()
        return found

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs) -> None:
        """Of an epoch that is the best so far, or (``best: False``) the last one."""
        best = kwargs.pop("best", True)
        file = kwargs.pop("saved_model_file", self.saved_model_file) + ("" if best else LAST)
        if self.model.item_features is not None:
            self.model.item_features.forget_outdated()  # as a run that goes on from here will not have it
        state = state_of(self, epoch, best)
        if self.ranks.rank == 0:
            save_checkpoint(state, file)
            if verbose:
                self.logger.info(f"Saving current: {file}")
        if best:
            self._remove_last()
        self.saved_at = time.monotonic()
        self.ranks.wait()

    def _save_last(self, epoch: int) -> None:
        """If it has been long since the last checkpoint; not while the encoder is ahead of its catalogue, which a resumed run would make
        anew, and a straight one would not."""
        features = self.model.item_features
        due = epoch >= self.start_epoch and time.monotonic() - self.saved_at > SAVE_SECONDS
        if self.saving and self.ranks.agree(due) and not (features is not None and features.outdated):
            self._save_checkpoint(epoch, verbose=False, best=False)

    def _remove_last(self) -> None:
        if self.ranks.rank == 0:
            Path(self.saved_model_file + LAST).unlink(missing_ok=True)

    def resume_checkpoint(self, resume_file: str) -> None:
        """Goes on where the checkpoint was written: model, optimiser, schedule, random states, loader, early stopping, best result.

        Raises:
            InputError: no such file, a checkpoint of another model or another encoder; from ``fit``: of other data.
        """
        resume(self, resume_file)
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")
