"""FrozenPhase: the epochs at the start of a run in which only the recommender trains, over a frozen encoder."""

from collections.abc import Mapping

from torch import Tensor

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.terminal import say


class FrozenPhase:
    """Decides from which epoch on the encoder trains, and from which weights of the recommender.

    With ``encoder_freeze_epochs: auto``, the recommender first trains over a frozen encoder with pretrained weights. Once more than
    ``stopping_step`` validations in a row have brought nothing better, or half of the epochs are over, the run goes back to its best
    epoch, and the encoder trains from there ("Fine-tuning can distort pretrained features": Kumar et al., arXiv 2202.10054). The best
    epoch of the run is then never worse in validation than the frozen encoder's. Without validation, or with learning rates that fall to
    the end of the run (``cosine``), the encoder is frozen in the first epoch alone. An encoder from scratch trains from the beginning.

    Args:
        setting: ``encoder_freeze_epochs``.
        scratch: whether the encoder starts from random weights, or there is none that trains.
        epochs: those of the run.
        fixed: whether the length may not depend on the validation.

    Attributes:
        epochs: how many epochs the encoder stays frozen; the largest possible number until that is known.
        kept: the number of the epoch over whose recommender the encoder trains.
        auto: whether the validation decides.
    """

    def __init__(self, setting: int | str, scratch: bool, epochs: int, fixed: bool) -> None:
        self.auto = setting == "auto" and not scratch and not fixed
        self.epochs = setting if setting != "auto" else 0 if scratch else epochs // 2 if self.auto else min(1, epochs - 1)
        self.kept = self.epochs
        self._best: Mapping[str, Tensor] = {}

    def validated(self, trainer, epoch: int, score: float) -> None:
        """To be called after an epoch's validation, before RecBole's early stopping, which it makes wait for the encoder to train."""
        if not self.auto or epoch >= self.epochs:
            return
        first = trainer.best_valid_result is None
        if first or (score >= trainer.best_valid_score if trainer.valid_metric_bigger else score <= trainer.best_valid_score):
            self.kept, last = epoch + 1, False
            if not trainer.saving:
                self._best = {name: value.clone() for name, value in _recommenders(trainer.model.trained_state()).items()}
        else:
            last = trainer.cur_step + 1 > trainer.stopping_step
        if last:
            self.epochs = epoch + 1
        if epoch + 1 == self.epochs:
            trainer.cur_step = -1

    def end(self, trainer) -> None:
        """To be called before the first epoch in which the encoder trains."""
        back = ""
        if self.auto and self.kept < self.epochs:
            best = _recommenders(load_checkpoint(trainer.saved_model_file)["state_dict"]) if trainer.saving else self._best
            trainer.model.load_state_dict(best, strict=False)
            back = f", over the recommender of epoch {self.kept}, which was the best"
        say(f"epoch {self.epochs + 1}: the encoder trains from now on{back}")

    def state(self) -> dict[str, int]:
        """What a checkpoint holds."""
        return {"epochs": self.epochs, "kept": self.kept}

    def load_state(self, state: Mapping[str, int]) -> None:
        self.epochs, self.kept = state["epochs"], state["kept"]


def _recommenders(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a model's state holds beside its encoder."""
    return {name: value for name, value in state.items() if not name.startswith("item_features.encoder.")}
