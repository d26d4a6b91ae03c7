"""What a checkpoint of a MultiModalTrainer holds, and how a run goes on from it."""

import os
from hashlib import blake2b
from pathlib import Path

import numpy as np

from recbole_mm.checkpoint import load_checkpoint, plain
from recbole_mm.errors import InputError
from recbole_mm.model.base import MultiModalRecommender
from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.parallel.sharding import optimizer_shares, share_of, whole

LAST = ".last"
"""What the name of the last epoch's checkpoint adds to that of the best one's."""
RATES = ("lr", "peak_lr", "weight_decay", "decay")
MAY_CHANGE = {
    "resume", "epochs", "stopping_step", "data_path", "checkpoint_dir", "cache_dir", "device", "use_gpu", "gpu_id", "nproc", "local_rank",
    "world_size", "offset", "ip", "port", "group_offset", "worker", "show_progress", "state", "log_wandb", "wandb_project", "single_spec",
}  # fmt: skip


def state_of(trainer, epoch: int, best: bool) -> dict:
    """Everything that a run needs to go on after ``epoch`` (the ``best`` so far, or another); of the model, what was trained. To be called
    by all processes: sharded tensors are whole in the first one's, and in no other's."""
    config, features = trainer.config, trainer.model.item_features
    return {
        "config": {**plain(config.final_config_dict), "data_path": os.path.abspath(config["data_path"])},
        "processes": trainer.ranks.world,
        "data_fingerprint": trainer.data,
        "contents_fingerprint": None if features is None else features.contents,
        "encoder_fingerprint": None if features is None else features.fingerprint,
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": float(trainer.best_valid_score),
        "best_valid_result": plain(best and trainer.valid_result or trainer.best_valid_result),
        "state_dict": whole(trainer.model.trained_state()),
        "other_parameter": trainer.model.other_parameter(),
        "optimizer": whole(trainer.optimizer.state_dict()),
        "scaler": trainer.scaler.state_dict(),
        "steps": trainer.schedule.steps,
        "random_state": random_state(),
        "loader_state": None if trainer.loader is None else trainer.loader.generator.get_state(),
    }


def resume(trainer, file: str) -> None:
    """See ``ResumableTrainer.resume_checkpoint``."""
    file, checkpoint = _newest(file)
    load_into(trainer.model, trainer.config["model"], checkpoint, file)
    features, wanted = trainer.model.item_features, checkpoint["encoder_fingerprint"]
    if features is not None and wanted != features.fingerprint:
        raise InputError(f"{file} was trained with another encoder (fingerprint {wanted}, not {features.fingerprint})")
    if features is not None and checkpoint.get("contents_fingerprint", features.contents) != features.contents:
        raise InputError(f"{file} was trained on other modalities, pictures or texts of these items")
    configured = [{key: group[key] for key in RATES if key in group} for group in trainer.optimizer.param_groups]
    try:
        if checkpoint["config"]["learner"] != trainer.config["learner"]:
            raise ValueError
        trainer.optimizer.load_state_dict(optimizer_shares(checkpoint["optimizer"], trainer.optimizer))
    except ValueError as error:
        raise InputError(f"{file} was trained with other groups of parameters: set encoder_tuning, layer_decay and learner as they were "
                         "then") from error  # fmt: skip
    for group, rates in zip(trainer.optimizer.param_groups, configured, strict=True):
        group.update(rates)
    told = changed(checkpoint, trainer)
    if told:
        trainer.logger.warning(f"{file}: from here on with {', '.join(told)}")
    trainer.saved_model_file = file
    trainer.start_epoch = checkpoint["epoch"] + 1
    trainer.cur_step, trainer.schedule.steps = checkpoint["cur_step"], dict(checkpoint["steps"])
    trainer.best_valid_score, trainer.best_valid_result = _best(checkpoint, trainer, file), checkpoint["best_valid_result"]
    if checkpoint["scaler"]:  # of a run that scaled
        trainer.scaler.load_state_dict(checkpoint["scaler"])
    set_random_state(checkpoint["random_state"])
    trainer.resumed_loader, trainer.resumed_data = checkpoint["loader_state"], checkpoint["data_fingerprint"]


def _newest(file: str) -> tuple[str, dict]:
    """The best epoch's file, and that epoch's checkpoint or the last epoch's beside it, whichever came later."""
    file = str(file).removesuffix(LAST)
    there = [name for name in (file, file + LAST) if Path(name).is_file()] or [file]
    return file, max(map(load_checkpoint, there), key=lambda checkpoint: checkpoint["epoch"])


def changed(checkpoint: dict, trainer) -> list[str]:
    """The settings that decide a run's numbers and are not those of a checkpoint."""
    before, now = dict(checkpoint["config"]), plain(trainer.config.final_config_dict)
    for settings, processes in ((before, checkpoint.get("processes", 1)), (now, trainer.ranks.world)):
        settings["train_batch_size"] *= processes
    may_change = MAY_CHANGE - ({"epochs"} if now["learning_rate_schedule"] == "cosine" else set())
    keys = [key for key in before if key not in may_change and key in now and before[key] != now[key]]
    return [f"{key}: {now[key]} (until now {before[key]})" for key in keys]


def _best(checkpoint: dict, trainer, file: str) -> float:
    """The best score so far, in today's ``valid_metric``."""
    metric, before = str(trainer.config["valid_metric"]), str(checkpoint["config"]["valid_metric"])
    if not checkpoint["best_valid_result"]:
        return trainer.best_valid_score
    if metric.lower() == before.lower():
        return checkpoint["best_valid_score"]
    if metric.lower() not in checkpoint["best_valid_result"]:
        raise InputError(f"{file} was validated by {before}, and does not hold {metric}: set valid_metric as it was then")
    return checkpoint["best_valid_result"][metric.lower()]


def load_into(model: MultiModalRecommender, name: str, checkpoint: dict, file: str) -> None:
    """A checkpoint's weights into a model called ``name``.

    Raises:
        InputError: it is one of another model, or does not fit.
    """
    if checkpoint["config"]["model"] != name:
        raise InputError(f"{file} is a checkpoint of {checkpoint['config']['model']}, not of {name}")
    load_model_state(model, checkpoint, file)


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
        loaded = {key: share_of(value, state.get(key)) for key, value in checkpoint["state_dict"].items()}
        model.load_state_dict({**{key: state[key] for key in untrained}, **loaded})
    except RuntimeError as error:
        raise InputError(f"{file} does not fit this model and data set: {str(error).splitlines()[-1].strip()}") from error
    model.load_other_parameter(checkpoint.get("other_parameter"))


def data_fingerprint(dataset) -> str:
    """Of the users, the items and the training interactions, in their order."""
    digest = blake2b(digest_size=16)
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update("\0".join(map(str, dataset.field2id_token[field])).encode())
        digest.update(np.ascontiguousarray(dataset.inter_feat[field].numpy()).tobytes())
    return digest.hexdigest()
