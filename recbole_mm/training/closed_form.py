"""The trainer of models that are found at once."""

from recbole_mm.training.trainer import MultiModalTrainer


class ClosedFormTrainer(MultiModalTrainer):
    """MultiModalTrainer for a SimilarityRecommender: one epoch without steps, in which the model is solved."""

    def __init__(self, config, model) -> None:
        super().__init__(config, model)
        self.epochs, self.eval_step = 1, min(self.eval_step, 1)

    def _train_epoch(self, train_data, epoch_idx: int, loss_func=None, show_progress: bool = False) -> float:
        with self.account.measure("training"):
            self.model.solve()
        return 0.0
