"""The state of a run as a checkpoint holds it: ``capture`` takes it from a trainer, ``restore`` puts it into one."""

import os
from collections.abc import Mapping
from logging import getLogger

import torch
from torch import Tensor

from recbole_mm.checkpoint import fitting, plain
from recbole_mm.errors import InputError
from recbole_mm.feature.features import ItemFeatures
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.parallel.sharding import optimizer_shares, share_of, whole
from recbole_mm.training.trained_data import check_resumable

RATES = ("lr", "peak_lr", "weight_decay", "decay")
"""The values of an optimiser's parameter group that a resumed run takes from its own settings, not from the checkpoint."""
UNMIXED = "unmixed"
"""The checkpoint's entry with the best validation score and result before the parts of the score were weighed (``score_mix: auto``)."""
logger = getLogger(__name__)
MAY_CHANGE = {
    "resume", "init_from", "epochs", "stopping_step", "data_path", "checkpoint_dir", "cache_dir", "device", "use_gpu", "gpu_id", "nproc",
    "local_rank", "world_size", "offset", "ip", "port", "group_offset", "worker", "show_progress", "state", "log_wandb", "wandb_project",
    "single_spec", "dataloaders_save_path", "screen", "refit", "eval_batch_size",
}  # fmt: skip
"""The settings that do not decide a run's numbers, so that a resumed run may have others without a warning."""


def capture(trainer, epoch: int, best: bool) -> dict:
    """Takes the state that a run needs to go on after an epoch. All processes must call this together, because sharded tensors are made
    whole; only the first process gets them.

    Args:
        trainer: a ResumableTrainer.
        epoch: the number of the epoch that has just ended.
        best: whether that epoch has the best validation result so far.

    Returns:
        A dictionary that ``load_checkpoint`` can read again without running code. Of the model it holds what was trained.
    """
    config, features = trainer.config, trainer.model.item_features
    with trainer.average.used():
        trained = whole(trainer.model.trained_state())
        if trainer.average.steps:  # the model is about to get its own weights back
            trained = {name: value if value is None else value.clone() for name, value in trained.items()}
    return {
        "config": {**plain(config.final_config_dict), "data_path": os.path.abspath(config["data_path"])},
        "processes": trainer.ranks.world,
        **trainer.trained_data,
        "contents_fingerprint": None if features is None else features.contents,
        "encoder_fingerprint": None if features is None else features.fingerprint,
        "row_codes": {} if features is None else features.row_codes,
        "made_by": None if features is None else features.made_by,
        "tuned_encoder": None if features is None else features.tuned,
        "dims": {} if features is None else dict(features.dims),
        "init_from": trainer.init_from,
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": float(trainer.best_valid_score),
        "best_valid_result": plain(best and trainer.valid_result or trainer.best_valid_result),
        "state_dict": trained,
        "unaveraged": whole(trainer.average.state()),
        "other_parameter": trainer.model.other_parameter(),
        "optimizer": whole(trainer.optimizer.state_dict()),
        "scaler": trainer.scaler.state_dict(),
        "steps": trainer.schedule.steps,
        "frozen_phase": trainer.frozen.state(),
        "random_state": random_state(),
        "loader_state": None if trainer.train_data is None else trainer.train_data.generator.get_state(),
    }


def restore(trainer, checkpoint: Mapping, file: str) -> None:
    """Puts a checkpoint's state into a trainer: model, optimiser, schedule, random generators, early stopping and the best result. The
    data loader's part follows in ``restore_loader``, once there is a loader.

    Args:
        trainer: a ResumableTrainer, made from the settings of the run that goes on.
        checkpoint: what ``load_checkpoint`` read.
        file: the checkpoint's name, for messages.

    Raises:
        InputError: the checkpoint belongs to another model, encoder, catalogue or optimiser.
    """
    load_weights(trainer.model, trainer.config["model"], checkpoint, file)
    _check_features(trainer.model.item_features, checkpoint, file)
    _restore_optimizer(trainer, checkpoint, file)
    if checkpoint["epoch"] + 1 < trainer.epochs:
        checkpoint = {**checkpoint, **checkpoint.get(UNMIXED, {})}
    changed = changed_settings(checkpoint, trainer)
    if changed:
        trainer.logger.warning(f"{file}: from here on with {', '.join(changed)}")
    trainer.start_epoch, trainer.init_from = checkpoint["epoch"] + 1, checkpoint.get("init_from")
    trainer.cur_step, trainer.schedule.steps = checkpoint["cur_step"], dict(checkpoint["steps"])
    trainer.average.load_state(checkpoint.get("unaveraged", {"steps": 0}), share_of)
    trainer.frozen.load_state(checkpoint.get("frozen_phase", trainer.frozen.state()))
    trainer.best_valid_score, trainer.best_valid_result = _best_score(checkpoint, trainer, file), checkpoint["best_valid_result"]
    if checkpoint["scaler"]:  # empty where the loss was not scaled
        trainer.scaler.load_state_dict(checkpoint["scaler"])
    set_random_state(checkpoint["random_state"])


def restore_loader(train_data, checkpoint: Mapping, file: str) -> None:
    """Lets a training loader go on with the order of batches that the checkpoint's run would have had next.

    Raises:
        InputError: the checkpoint was trained on other data.
    """
    check_resumable(checkpoint, train_data.dataset, file)
    if checkpoint["loader_state"] is not None:
        train_data.generator.set_state(checkpoint["loader_state"].cpu())


def changed_settings(checkpoint: Mapping, trainer) -> list[str]:
    """The settings that decide a run's numbers and differ from the checkpoint's, each as ``key: now (until now before)``. A batch size
    counts for all processes together."""
    before, now = dict(checkpoint["config"]), plain(trainer.config.final_config_dict)
    for settings, processes in ((before, checkpoint.get("processes", 1)), (now, trainer.ranks.world)):
        settings["train_batch_size"] *= processes
    may_change = MAY_CHANGE - ({"epochs"} if now["learning_rate_schedule"] == "cosine" else set())
    keys = [key for key in before if key not in may_change and key in now and before[key] != now[key]]
    return [f"{key}: {now[key]} (until now {before[key]})" for key in keys]


def load_weights(model: FeatureModel, name: str, checkpoint: Mapping, file: str) -> None:
    """Loads a checkpoint's weights into a model called ``name``.

    Raises:
        InputError: the checkpoint is one of another model, or does not fit.
    """
    if checkpoint["config"]["model"] != name:
        raise InputError(f"{file} is a checkpoint of {checkpoint['config']['model']}, not of {name}")
    load_model_state(model, checkpoint, file)


def load_model_state(model: FeatureModel, checkpoint: Mapping, file: str) -> None:
    """Loads a checkpoint's weights into a model.

    Raises:
        InputError: the checkpoint was trained on features of another encoder, or does not fit the model.
    """
    features = getattr(model, "item_features", None)
    untrained = model.untrained_keys() if features is not None else set()
    if features is not None and (untrained or features.tabled):
        _check_made_alike(features, checkpoint, file)
    state = model.state_dict()
    loaded = {key: share_of(value, state.get(key)) for key, value in checkpoint["state_dict"].items()}
    with fitting(file):
        model.load_state_dict({**{key: state[key] for key in untrained}, **_with_missing_vectors(loaded, state)})
    model.load_other_parameter(checkpoint.get("other_parameter"))


def _check_made_alike(features: ItemFeatures, checkpoint: Mapping, file: str) -> None:
    """Items may have come and gone, but what the others' features are made by must be the same."""
    wanted, codes = checkpoint.get("encoder_fingerprint"), checkpoint.get("row_codes", {})
    if wanted == features.fingerprint:
        return
    if not codes or codes.keys() != features.row_codes.keys() or checkpoint["made_by"] != features.made_by:
        other = f"fingerprint {wanted}, not {features.fingerprint}"
        raise InputError(f"{file} was trained with another encoder or other feature files ({other})")
    for modality, before in codes.items():
        now = features.row_codes[modality][: len(before)]
        kept = (before != 0) & (now != 0)
        changed = int((before != now)[kept].sum())
        if changed:
            raise InputError(
                f"{file} was trained with other feature files: {changed} of {int(kept.sum())} items have another {modality} row"
            )


def _with_missing_vectors(loaded: dict[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's weights with the vectors that stand in for missing modalities which are needed now: zeros for a modality that no item
    lacked in training."""
    prefix = "item_features.missing_vectors."
    needed = {key: torch.zeros_like(value) for key, value in state.items() if key.startswith(prefix)}
    for key in needed.keys() - loaded.keys():
        logger.warning(f"items lack a {key.removeprefix(prefix)}, which no item did in training: zeros stand in for it")
    return {**needed, **{key: value for key, value in loaded.items() if key in needed or not key.startswith(prefix)}}


def _check_features(features, checkpoint: Mapping, file: str) -> None:
    if features is None:
        return
    wanted = checkpoint["encoder_fingerprint"]
    if wanted != features.fingerprint:
        raise InputError(f"{file} was trained with another encoder (fingerprint {wanted}, not {features.fingerprint})")
    if checkpoint.get("contents_fingerprint", features.contents) != features.contents:
        raise InputError(f"{file} was trained on other modalities, pictures or texts of these items")


def _restore_optimizer(trainer, checkpoint: Mapping, file: str) -> None:
    configured = [{key: group[key] for key in RATES if key in group} for group in trainer.optimizer.param_groups]
    try:
        if checkpoint["config"]["learner"] != trainer.config["learner"]:
            raise ValueError
        trainer.optimizer.load_state_dict(optimizer_shares(checkpoint["optimizer"], trainer.optimizer))
    except ValueError as error:
        raise InputError(f"{file} was trained with other groups of parameters: set encoder_tuning, layer_decay and learner as they were "
                         "then, or train anew if it is an earlier version's") from error  # fmt: skip
    for group, rates in zip(trainer.optimizer.param_groups, configured, strict=True):
        group.update(rates)


def _best_score(checkpoint: Mapping, trainer, file: str) -> float:
    """The best validation score so far, by the metric that the run goes on with."""
    metric, before = str(trainer.config["valid_metric"]), str(checkpoint["config"]["valid_metric"])
    if not checkpoint["best_valid_result"]:
        return trainer.best_valid_score
    if metric.lower() == before.lower():
        return checkpoint["best_valid_score"]
    if metric.lower() not in checkpoint["best_valid_result"]:
        raise InputError(f"{file} was validated by {before}, and does not hold {metric}: set valid_metric as it was then")
    return checkpoint["best_valid_result"][metric.lower()]
