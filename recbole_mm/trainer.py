"""MultiModalTrainer: RecBole's Trainer, with the encoder as a parameter group of its own and checkpoints that resume exactly."""

import os
import time
from collections import OrderedDict
from hashlib import blake2b

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.trainer import Trainer

from recbole_mm.checkpoint import load_checkpoint, plain, random_state, save_checkpoint, set_random_state
from recbole_mm.errors import InputError
from recbole_mm.feature.cost import EncodingCost
from recbole_mm.model.base import MultiModalRecommender

AUTO_LEARNING_RATE = {"scratch": 1e-3, "few": 1e-4, "all": 1e-5}
AUTO_FREEZE_EPOCHS = {True: 0, False: 1}


class MultiModalTrainer(Trainer):
    """RecBole's Trainer for a MultiModalRecommender.

    The encoder has its own learning rate, weight decay (none on norms and biases) and linear warm-up, and is left alone for the
    first ``encoder_freeze_epochs``, in which features come from a table. Checkpoints hold the model's state (of a frozen encoder
    nothing), the optimiser, and every random state; ``resume_checkpoint`` goes on as if the run had not stopped.
    """

    def __init__(self, config, model: MultiModalRecommender) -> None:
        super().__init__(config, model)
        features = model.item_features
        scratch = features is None or features.encoder is None or features.encoder.from_scratch
        frozen = config["encoder_freeze_epochs"]
        self.freeze_epochs = min(AUTO_FREEZE_EPOCHS[scratch], self.epochs - 1) if frozen == "auto" else frozen
        self.cost = EncodingCost() if features is None else features.cost
        self.seconds = {"training": 0.0, "evaluating": 0.0}
        self.step = 0
        self._loader: AbstractDataLoader | None = None
        self._loader_state: torch.Tensor | None = None

    def _build_optimizer(self, **kwargs) -> torch.optim.Optimizer:
        encoder = self.model.encoder_parameters()
        members = {id(p) for p in encoder}
        groups = [{"params": [p for p in self.model.parameters() if p.requires_grad and id(p) not in members], "role": "recommender"}]
        if encoder:
            rate, decay = self.config["encoder_learning_rate"], self.config["encoder_weight_decay"]
            rate = self._auto_learning_rate() if rate == "auto" else rate
            matrices, vectors = [p for p in encoder if p.ndim > 1], [p for p in encoder if p.ndim <= 1]
            for params, weight_decay in ((matrices, decay), (vectors, 0.0)):
                groups.append({"params": params, "lr": rate, "weight_decay": weight_decay, "peak_lr": rate, "role": "encoder"})
        optimizer = super()._build_optimizer(params=groups, **kwargs)
        optimizer.register_step_pre_hook(lambda *_: self._warm_up())
        return optimizer

    def _auto_learning_rate(self) -> float:
        """By what trains: random weights, a few new (or bias) parameters beside pretrained ones, or pretrained weights themselves."""
        if self.model.item_features.encoder.from_scratch:
            return AUTO_LEARNING_RATE["scratch"]
        return AUTO_LEARNING_RATE["few" if self.config["encoder_tuning"] in ("lora", "adapter", "bitfit") else "all"]

    def _warm_up(self) -> None:
        """Linear in the encoder's own steps, from peak / warm-up steps to peak."""
        if self.model.item_features is None or not self.model.item_features.live:
            return
        self.step += 1
        scale = min(1.0, self.step / max(1, self.config["encoder_warmup_steps"]))
        for group in self.optimizer.param_groups:
            if group["role"] == "encoder":
                group["lr"] = group["peak_lr"] * scale

    def fit(self, train_data, *args, **kwargs) -> tuple[float, OrderedDict]:
        self._loader, self._data = train_data, data_fingerprint(train_data.dataset)
        if self._resumed_data not in (None, self._data):
            raise InputError(f"{self.saved_model_file} was trained on other data: another data set, split, seed or filter")
        if self._loader_state is not None:
            train_data.generator.set_state(self._loader_state.cpu())
        if self.start_epoch >= self.epochs > 0:
            self.logger.info(f"Nothing to train: the checkpoint has all {self.epochs} epochs")
            self.eval_collector.data_collect(train_data)
            return self.best_valid_score, self.best_valid_result
        return super().fit(train_data, *args, **kwargs)

    def _train_epoch(self, train_data, epoch_idx: int, loss_func=None, show_progress: bool = False):
        features = self.model.item_features
        if features is not None and features.trainable:
            features.live = epoch_idx >= self.freeze_epochs
            if features.live and epoch_idx == self.freeze_epochs > 0:
                self.logger.info(f"epoch {epoch_idx}: the encoder trains from now on")
            if features.live and epoch_idx % self.config["refresh_every"] == 0 and self.model.uses_table:
                features.refresh()
        self.model.start_epoch(epoch_idx)
        for group in self.optimizer.param_groups:
            if group["role"] == "recommender":
                group["lr"] = self.config["learning_rate"] * self.model.learning_rate_factor(epoch_idx)
        with self._timed("training"):
            return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)

    def evaluate(self, eval_data, load_best_model: bool = True, model_file: str | None = None, show_progress: bool = False):
        """RecBole's, but the checkpoint is one that loads without running code."""
        if not eval_data:
            return None
        if load_best_model:
            file = model_file or self.saved_model_file
            self._load_model(load_checkpoint(file, self.device), file)
            self.logger.info(f"Loading model structure and parameters from {file}")
        with self._timed("evaluating"):
            return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs) -> None:
        file = kwargs.pop("saved_model_file", self.saved_model_file)
        features = self.model.item_features
        state = {
            "config": {**plain(self.config.final_config_dict), "data_path": os.path.abspath(self.config["data_path"])},
            "data_fingerprint": self._data,
            "encoder_fingerprint": None if features is None else features.fingerprint,
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": plain(self._valid_result or self.best_valid_result),
            "state_dict": self.model.trained_state(),
            "other_parameter": self.model.other_parameter(),
            "optimizer": self.optimizer.state_dict(),
            "encoder_step": self.step,
            "random_state": random_state(),
            "loader_state": None if self._loader is None else self._loader.generator.get_state(),
        }
        save_checkpoint(state, file)
        if verbose:
            self.logger.info(f"Saving current: {file}")

    def _valid_epoch(self, valid_data, show_progress: bool = False):
        score, self._valid_result = super()._valid_epoch(valid_data, show_progress)
        return score, self._valid_result

    _valid_result: OrderedDict | None = None
    _data: str | None = None
    _resumed_data: str | None = None

    def resume_checkpoint(self, resume_file: str) -> None:
        """Goes on where the checkpoint was written: model, optimiser, random states, loader, early stopping, best result.

        Raises:
            InputError: no such file, a checkpoint of another model or another encoder; from ``fit``: of other data.
        """
        checkpoint = load_checkpoint(resume_file, self.device)
        self._load_model(checkpoint, resume_file)
        features, wanted = self.model.item_features, checkpoint["encoder_fingerprint"]
        if features is not None and wanted != features.fingerprint:
            raise InputError(f"{resume_file} was trained with another encoder (fingerprint {wanted}, not {features.fingerprint})")
        self.saved_model_file = str(resume_file)
        self.start_epoch = checkpoint["epoch"] + 1
        self.cur_step, self.step = checkpoint["cur_step"], checkpoint["encoder_step"]
        self.best_valid_score = checkpoint["best_valid_score"]
        self.best_valid_result = checkpoint["best_valid_result"]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        set_random_state(checkpoint["random_state"])
        self._loader_state, self._resumed_data = checkpoint["loader_state"], checkpoint.get("data_fingerprint")
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

    def _load_model(self, checkpoint: dict, file: str) -> None:
        if checkpoint["config"]["model"] != self.config["model"]:
            raise InputError(f"{file} is a checkpoint of {checkpoint['config']['model']}, not of {self.config['model']}")
        load_model_state(self.model, checkpoint, file)

    def cost_line(self) -> str:
        """What the run cost: seconds of encoding (forward passes), of the rest of training and of evaluation."""
        rate = f", {self.cost.items / self.cost.seconds:.0f} items/s" if self.cost.seconds else ""
        return (
            f"cost: encoding {self.cost.seconds:.1f} s ({self.cost.items} items{rate}), "
            f"training {self.seconds['training']:.1f} s, evaluating {self.seconds['evaluating']:.1f} s"
        )

    def _timed(self, phase: str) -> "_Timer":
        return _Timer(self, phase)


class _Timer:
    """Adds the seconds of a block to a phase, less those spent encoding in it."""

    def __init__(self, trainer: MultiModalTrainer, phase: str) -> None:
        self.trainer, self.phase = trainer, phase

    def __enter__(self) -> None:
        self.start, self.encoding = time.perf_counter(), self.trainer.cost.seconds

    def __exit__(self, *_) -> None:
        spent = time.perf_counter() - self.start
        self.trainer.seconds[self.phase] += spent - (self.trainer.cost.seconds - self.encoding)


def data_fingerprint(dataset) -> str:
    """Of the users, the items and the training interactions, in their order."""
    digest = blake2b(digest_size=16)
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update("\0".join(map(str, dataset.field2id_token[field])).encode())
        digest.update(dataset.inter_feat[field].numpy().tobytes())
    return digest.hexdigest()


def load_model_state(model: MultiModalRecommender, checkpoint: dict, file: str) -> None:
    """A checkpoint's state into a model.

    Raises:
        InputError: the checkpoint was trained on features of another encoder, or does not fit the model.
    """
    features = getattr(model, "item_features", None)
    wanted = checkpoint.get("encoder_fingerprint")
    untrained = model.untrained_keys() if features is not None else set()
    if features is not None and (untrained or features.tabled) and wanted != features.fingerprint:
        other = f"fingerprint {wanted}, not {features.fingerprint}"
        raise InputError(f"{file} was trained with another encoder or other feature files ({other})")
    try:
        state = model.state_dict()
        model.load_state_dict({**{key: state[key] for key in untrained}, **checkpoint["state_dict"]})
    except RuntimeError as error:
        raise InputError(f"{file} does not fit this model and data set: {str(error).splitlines()[-1].strip()}") from error
    model.load_other_parameter(checkpoint.get("other_parameter"))
