"""``init_from``: a run that starts from what a model of the same class has learned on another catalogue."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from logging import getLogger
from pathlib import Path

import torch
from torch import Tensor

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.config.keys import TUNING_KEYS
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.errors import InputError
from recbole_mm.model.feature_model import FeatureModel
from recbole_mm.parallel.sharding import share_of
from recbole_mm.terminal import labelled, say
from recbole_mm.training.trained_data import TOKENS

FEATURES, ENCODER = "item_features.", "item_features.encoder."
MAKES_FEATURES = (
    "encoder", "encoder_training", "encoder_image_size", "encoder_max_patches", "encoder_tokenizer", "encoder_prompt", "encoder_dim",
    "encoder_precision", "feature_dtype", "feature_rank", "feature_files",
)  # fmt: skip
logger = getLogger(__name__)


def read_source(config) -> dict | None:
    """The checkpoint that ``init_from`` names. None without one, and where a run is resumed, which has started long ago.

    Raises:
        InputError: there is no such file, or it is no checkpoint of this model.
    """
    file = config["init_from"]
    if not file:
        return None
    if config["resume"]:
        logger.info(f"init_from: {file} is not read: the run goes on from {config['resume']}")
        return None
    if not Path(file).is_file():
        raise InputError(f"init_from: no checkpoint {file}")
    source = load_checkpoint(file)
    if source["config"]["model"] != config["model"]:
        raise InputError(f"init_from: {file} is a checkpoint of {source['config']['model']}, not of {config['model']}")
    if TOKENS not in source:
        raise InputError(f"init_from: {file} is an earlier version's and does not say whose parameters are whose; train it anew")
    return source


def start_from(model: FeatureModel, config, source: Mapping) -> dict[str, object]:
    """Gives a model all that a checkpoint of another catalogue knows of no single user or item: the encoder's trained weights, projections,
    layers, vectors that all users share. What remains is as from scratch. The log names both.

    Args:
        model: with the weights of its seed.
        config: of the run.
        source: what ``read_source`` returned.

    Returns:
        What the record of the run says of it: the file, a digest of it, its data set, and the names of the parameters that were taken.

    Raises:
        InputError: the checkpoint's features or shapes are others, or nothing fits.
    """
    file, now = config["init_from"], dict(model.named_parameters())
    _check_features(model, config, source)
    buffers = {name for name, _ in model.named_buffers()}
    then = {name: value for name, value in source["state_dict"].items() if name not in buffers}
    _check_encoder(model, config, then)
    counts = _counts(model, source)
    tables = [name for name in then if name in now and not name.startswith(FEATURES) and _of_single_ones(then[name], now[name], counts)]
    taken = [name for name in then if name in now and name not in tables]
    for name in taken:
        if then[name].shape != now[name].shape:
            shapes = " x ".join(map(str, then[name].shape)), " x ".join(map(str, now[name].shape))
            keys = (*declared_keys(config.model_class), *TUNING_KEYS, "MAX_ITEM_LIST_LENGTH")
            raise InputError(f"init_from: {file} has {name} of {shapes[0]}, and this run of {shapes[1]}{_changed(config, source, keys)}")
    if not taken:
        raise InputError(f"init_from: {file} has no parameter for this run that is not of single users or items ({_grouped(then)})")
    with torch.no_grad():
        for name in taken:
            now[name].copy_(share_of(then[name].to(now[name].device), now[name]))
    model.item_features.forget_outdated()
    model.forget_features()
    rest = {
        "of single users or items": tables,
        "without a place here": [name for name in then if name not in now],
        "not in it": [name for name in now if name not in then and (now[name].requires_grad or not name.startswith(ENCODER))],
    }
    _tell(file, source, taken, rest)
    digest = blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    return {"file": str(Path(file).resolve()), "digest": digest, "dataset": source["config"]["dataset"], "taken": taken}


def _check_features(model: FeatureModel, config, source: Mapping) -> None:
    """The features must be made by the same encoder, and have the same modalities and widths."""
    file, features = config["init_from"], model.item_features
    if source["encoder_fingerprint"] is None:
        raise InputError(f"init_from: {file} was trained on ids alone, which say nothing about another catalogue")
    before, now = source.get("dims", dict(features.dims)), dict(features.dims)
    if list(before) != list(now):
        told = f"the features {', '.join(before)}, and this run has {', '.join(now)}; set modalities"
        raise InputError(f"init_from: {file} was trained on {told}")
    made_by, files = source.get("made_by", source["encoder_fingerprint"]), features.row_codes.keys()
    if made_by != features.made_by or source.get("row_codes", {}).keys() != files:
        keys = (*MAKES_FEATURES, *(["seed"] if features.trainable and features.encoder.from_scratch else []))
        raise InputError(f"init_from: {file} was trained with another encoder (fingerprint {made_by}, not {features.made_by})"
                         f"{_changed(config, source, keys)}")  # fmt: skip
    scaled = source["config"].get("feature_scaling") or "none"
    if files and scaled != config["feature_scaling"]:
        raise InputError(f"init_from: {file} was trained with feature_scaling: {scaled}, and this run has {config['feature_scaling']}")
    wide = [f"{m} of {before[m]} numbers, and this run of {now[m]}" for m in now if before[m] != now[m]]
    if wide:
        raise InputError(f"init_from: {file} was trained on rows of {wide[0]}")
    if files:
        logger.warning(f"init_from: feature files do not say what made them; those of {', '.join(files)} must be made as they were then")


def _check_encoder(model: FeatureModel, config, then: Mapping[str, Tensor]) -> None:
    """Whatever was trained of the encoder must train here as well: a checkpoint holds no other part of it."""
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    gone = [name for name in then if name.startswith(ENCODER) and name not in trains]
    if gone:
        raise InputError(f"init_from: {config['init_from']} holds weights of the encoder that do not train here ({_grouped(gone)}): set "
                         "encoder_training and encoder_tuning as they were then")  # fmt: skip


def _counts(model: FeatureModel, source: Mapping) -> set[tuple[int, int]]:
    """How many rows a table of users, of items, or of both has: then and now."""
    users, items = (len(source[TOKENS][source["config"][key]]) + 1 for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"))
    return {(users, model.n_users), (items, model.n_items), (users + items, model.n_users + model.n_items)}


def _of_single_ones(then: Tensor, now: Tensor, counts: set[tuple[int, int]]) -> bool:
    """Whether a dimension of a parameter goes through the users or the items."""
    return then.dim() == now.dim() and any(pair in counts for pair in zip(then.shape, now.shape, strict=True))


def _changed(config, source: Mapping, keys: Iterable[str]) -> str:
    """The keys that were otherwise then, for the end of a message."""
    before = source["config"]
    told = [f"{key}: {before[key]}" for key in keys if key in before and before[key] != config[key]]
    return f"; then it was {', '.join(told)}" if told else ""


def _tell(file: str, source: Mapping, taken: list[str], rest: Mapping[str, list[str]]) -> None:
    origin = f"{file} ({source['config']['model']} on {source['config']['dataset']}): {_grouped(taken)}"
    say(labelled("starts from", origin), text=f"init_from: taken from {origin}")
    left = "; ".join(f"{_grouped(names)} ({why})" for why, names in rest.items() if names)
    if left:
        say(labelled("", f"not taken: {left}"), text=f"init_from: not taken: {left}")


def _grouped(names: Iterable[str]) -> str:
    """Names of parameters for the log, those of one module together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("the encoder" if name.startswith(ENCODER) else name.partition(".")[0], []).append(name)
    return ", ".join(found[0] if len(found) == 1 else f"{group} ({len(found)} parameters)" for group, found in groups.items())
