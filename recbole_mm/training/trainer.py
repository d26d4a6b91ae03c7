"""MultiModalTrainer: RecBole's Trainer for a recommender whose encoder trains with it, in one process or in several."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.utils import EvaluatorType

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.compat.recbole_modules import no_tensorboard
from recbole_mm.errors import InputError
from recbole_mm.evaluation.ranker import RanksQuickly
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.parallel.sharding import clip_gradients, total_norm
from recbole_mm.terminal import Bar
from recbole_mm.training.average import WeightAverage
from recbole_mm.training.cost import CostAccount
from recbole_mm.training.epochs import TellsEpochs
from recbole_mm.training.frozen_phase import FrozenPhase
from recbole_mm.training.health import health_line, health_of
from recbole_mm.training.optimiser import Schedule, decay_weights, fused_optimizer, role_groups
from recbole_mm.training.resumable_trainer import ResumableTrainer
from recbole_mm.training.row_gradients import use_row_gradients
from recbole_mm.training.run_state import load_weights
from recbole_mm.training.score_mix import check_mix, choose_mix
from recbole_mm.training.trained_data import check_ids

AUTO_AVERAGE = {True: 0.0, False: 0.98}
"""What ``weight_average: auto`` means for an encoder that starts from scratch (True) or from trained weights (False)."""


class MultiModalTrainer(TellsEpochs, RanksQuickly, ResumableTrainer):
    """RecBole's Trainer for a FeatureModel.

    The recommender and the encoder have learning rates, weight decay and schedules of their own (see ``optimiser``). During the first
    epochs the encoder may stay as it is, and item features come from a table (see ``FrozenPhase``). While it trains, what is validated and
    kept may be an average of the weights (see ``WeightAverage``). ``accumulation_steps`` batches make one step of the optimiser. Several
    processes train as one process would on the batches of all of them together (see ``Ranks``), and each of them evaluates its share of
    the users.

    Attributes:
        account, health: see ``TellsEpochs``.
    """

    def __init__(self, config, model: FeatureModel) -> None:
        with no_tensorboard() if Ranks.current().rank else nullcontext():
            super().__init__(config, model)
        check_mix(config, model)
        if config["fast_loop"]:
            use_row_gradients(config, model, spared=model.encoder_parameters() + model.cross_parameters())
        features = model.item_features
        self.frozen = self._frozen_phase(fixed=config["learning_rate_schedule"] == "cosine")
        self.schedule = Schedule(config, self.optimizer, self.epochs, self.frozen.epochs)
        self.average = WeightAverage(model, self._decay_of_average())
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=bool(self.enable_scaler))
        self.account = CostAccount(features, self.ranks)
        self.gradient_norms: list[torch.Tensor] = []

    def _build_optimizer(self, **kwargs) -> torch.optim.Optimizer:
        groups = role_groups(self.config, self.model)
        fused = fused_optimizer(self.learner, groups, self.learning_rate, self.weight_decay)
        return fused or super()._build_optimizer(params=groups, **kwargs)

    def _frozen_phase(self, fixed: bool) -> FrozenPhase:
        features = self.model.item_features
        scratch = features is None or features.encoder is None or features.encoder.from_scratch
        return FrozenPhase(self.config["encoder_freeze_epochs"], scratch, self.epochs, fixed)

    def _decay_of_average(self) -> float:
        decay, features = self.config["weight_average"], self.model.item_features
        if features is None or not features.trainable:
            return 0.0
        return AUTO_AVERAGE[features.encoder.from_scratch] if decay == "auto" else decay

    def fit(self, train_data, valid_data=None, verbose: bool = True, saved: bool = True, **kwargs) -> tuple[float, OrderedDict]:
        if self.frozen.auto and not (valid_data and self.eval_step > 0):
            self.frozen = self._frozen_phase(fixed=True)
        features, steps = self.model.item_features, self.schedule.total("encoder", len(train_data))
        if features is not None and features.trainable and self.schedule.warmup >= steps:
            self.logger.warning(f"encoder_warmup_steps {self.schedule.warmup} of {steps} steps: the encoder's rate never stays at its peak")
        trains = self.start_epoch < self.epochs
        if trains:  # a resumed checkpoint has brought its own
            self.model.score_mix = None if self.config["score_mix"] == "auto" else self.config["score_mix"]
        found = super().fit(train_data, valid_data, verbose, saved, **kwargs)
        self.average.finish()
        if self.config["score_mix"] == "auto" and (trains or self.model.score_mix is None):
            return self._choose_mix(valid_data, saved) or found
        return found

    def _choose_mix(self, valid_data, saved: bool) -> tuple[float, OrderedDict] | None:
        if len(self.model.score_parts()) != 2:
            self.logger.info(f"score_mix: auto has no effect: the score of {self.config['model']} has no parts by ids and by content")
        elif not valid_data or self.eval_step <= 0:
            self.logger.warning("score_mix: auto chooses on validation, and there is none: ids and content are added as they are")
        else:
            return choose_mix(self, valid_data, saved)
        return None

    def _train_epoch(self, train_data, epoch_idx: int, loss_func=None, show_progress: bool = False):
        """Trains for one epoch. Returns the sum of the batches' losses, or a tuple of the sums of each part of the loss."""
        self._save_last(epoch_idx - 1)
        self._start_epoch(epoch_idx)
        factor, n, every = self.model.learning_rate_factor(epoch_idx), len(train_data), self.config["accumulation_steps"]
        bar = Bar(train_data, f"Epoch {epoch_idx + 1}/{self.epochs}", disable=not show_progress)
        totals: list[float] | None = None
        with self.account.measure("training"):
            self.model.train()
            self.optimizer.zero_grad()
            for place, interaction in enumerate(bar):
                self._start_step(epoch_idx * n + place)
                with torch.autocast(self.device.type, enabled=bool(self.enable_amp)):
                    losses = (loss_func or self.model.calculate_loss)(interaction.to(self.device))
                parts = losses if isinstance(losses, tuple) else (losses,)
                values = torch.stack([part.detach().float() for part in parts]).tolist()
                self._check_finite(epoch_idx, values)
                totals = values if totals is None else list(map(sum, zip(totals, values, strict=True)))
                together = min(every, n - place // every * every)
                self.scaler.scale(sum(parts) / together).backward()
                if (place + 1) % every == 0 or place + 1 == n:
                    self._step(n, factor)
        return tuple(totals) if isinstance(losses, tuple) else totals[0]

    def _start_epoch(self, epoch: int) -> None:
        features = self.model.item_features
        if epoch == 0 and not self.config["init_from"]:
            self.model.start_training()
        if features is not None and features.trainable:
            features.live = epoch >= self.frozen.epochs
            if epoch == self.frozen.epochs > 0:
                self.frozen.end(self)
            if features.live and not self.average.steps:
                self.average.start()
            if features.live and epoch % self.config["refresh_every"] == 0 and self.model.uses_table and features.outdated:
                features.refresh()
        self.ranks.align([tensor for group in self.optimizer.param_groups for tensor in group["params"]])
        self.model.start_epoch(epoch)
        self.gradient_norms = []

    def _start_step(self, step: int) -> None:
        if self.model.item_features is not None:
            self.model.item_features.start_step(step)
        self.model.start_step(step)

    def _step(self, n_batches: int, factor: float) -> None:
        """Makes one step of the optimiser on the accumulated gradients."""
        features, encoder = self.model.item_features, self.model.encoder_parameters()
        encoder_trains = features is not None and features.live
        self.schedule.step(n_batches, factor, encoder_trains)
        self.ranks.average((encoder if encoder_trains else []) + self.model.cross_parameters())
        self.scaler.unscale_(self.optimizer)
        if encoder_trains:
            gradients = [p.grad for p in encoder if p.grad is not None]
            self.gradient_norms += [total_norm(gradients)] if gradients else []
        if self.clip_grad_norm:
            clip_gradients(list(self.model.parameters()), **self.clip_grad_norm)
        decay_weights(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.average.update()

    def _check_finite(self, epoch: int, losses: list[float]) -> None:
        if not all(map(math.isfinite, losses)):
            raise InputError(f"the loss of epoch {epoch + 1} is not finite ({', '.join(map(str, losses))}): lower learning_rate or "
                             "encoder_learning_rate, or set clip_grad_norm")  # fmt: skip

    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model: bool = True, model_file: str | None = None, show_progress: bool = False):
        """RecBole's ``evaluate``, which loads the checkpoint without running code. Several processes rank the items for a share of the
        users each, and all of them return the result over all users.

        Raises:
            InputError: the checkpoint is not there, or does not fit the model.
        """
        if not eval_data:
            return None
        if load_best_model:
            file = model_file or self.saved_model_file
            checkpoint = load_checkpoint(file)
            check_ids(checkpoint, eval_data.dataset, file)
            load_weights(self.model, self.config["model"], checkpoint, file)
            self.logger.info(f"Loading model structure and parameters from {file}")
        full = isinstance(eval_data, FullSortEvalDataLoader)
        if full and self.item_tensor is None:
            self.item_tensor = eval_data._dataset.get_item_feature().to(self.device)
        if self.config["eval_type"] == EvaluatorType.RANKING:
            self.tot_item_num = eval_data._dataset.item_num
        shared = full and self.ranks.world > 1
        batches = self._own_batches(eval_data) if shared else eval_data
        with self.account.measure("evaluating"):
            self.model.eval()
            if shared and self.model.item_features is not None:
                self.model.item_features.table()  # which all processes make together, those without a user as well
            for batch in Bar(batches, "Evaluating", disable=not show_progress):
                interaction, scores, *positives = (self._full_sort_batch_eval if full else self._neg_sample_batch_eval)(batch)
                self.eval_collector.eval_batch_collect(scores, interaction, *positives)
            result = self.evaluator.evaluate(self._collected(shared))
        self.wandblogger.log_eval_metrics(result, head="eval")
        return result

    def _own_batches(self, eval_data: FullSortEvalDataLoader) -> Iterator[tuple]:
        own = torch.arange(eval_data.sample_size)[self.ranks.slice(eval_data.sample_size)]
        return (eval_data.collate_fn(places.tolist()) for places in own.split(eval_data.step) if len(places))

    def _collected(self, shared: bool):
        """What RecBole's metrics are computed from. If processes shared the evaluation, it has the rows of all of them, in the order of the
        users."""
        struct = self.eval_collector.get_data_struct()
        if shared:
            everyone = self.ranks.collect({key: rows.cpu() for key, rows in struct._data_dict.items() if key.startswith("rec.")})
            for key in {key for own in everyone for key in own}:
                struct.set(key, torch.cat([own[key] for own in everyone if key in own]))
        return struct

    def _valid_epoch(self, valid_data, show_progress: bool = False) -> tuple:
        features = self.model.item_features
        with self.average.used():
            score, self.valid_result = super()._valid_epoch(valid_data, show_progress)
        if self.average.steps:
            features.forget_outdated()
        if features is not None and features.trainable:
            self.frozen.validated(self, self._epoch, score)
        return score, self.valid_result

    def measure_health(self) -> dict[str, object]:
        health = health_of(self.model, self.gradient_norms)
        if health:
            self.logger.info(health_line(health))
        return health
