"""Checks of a configuration's values, each by itself: what would fail later or be silently ignored is said at once."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from recbole.utils import InputType
from torch import nn

from recbole_mm.config.combinations import check_combinations, check_refit
from recbole_mm.config.evaluation_keys import check_eval_args, check_masks, check_metrics, check_mode
from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import EVERY_MODEL, SEQUENTIAL_MODELS, Key
from recbole_mm.config.modalities import READABLE
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.recbole_kinds import COMMON_KINDS, kinds_of_model
from recbole_mm.config.registry import is_ours
from recbole_mm.errors import InputError, nearest

PICKLES = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")


def check_recboles_values(settings: Mapping, given: Mapping, defaults: Mapping, model_class: type) -> None:
    """Checks the values of RecBole's keys before RecBole derives anything from them.

    Args:
        settings: the merged settings.
        given: those that somebody has set, rather than the property files.
        defaults: those of the property files.
        model_class: the model.

    Raises:
        InputError: naming every key that holds something else, and what it may be.
    """
    kinds = {**COMMON_KINDS, **({} if is_ours(model_class) else kinds_of_model(model_class.__name__))}
    for declared in (declared_keys(model_class), KEYS):
        kinds = {name: kind for name, kind in kinds.items() if name not in declared}
    _raise_all(_complaint(name, Key(defaults.get(name), kind, ""), settings[name]) for name, kind in kinds.items() if name in settings)
    check_metrics(settings, given)
    check_eval_args(settings["eval_args"])
    check_mode(settings)
    if settings["log_wandb"] and importlib.util.find_spec("wandb") is None:
        raise InputError("log_wandb: True needs the package wandb, which is not installed; pip install wandb, or leave it out")


def check_values(config: Mapping) -> None:
    """Checks a merged configuration (RecBole's ``Config``) before anything is built from it.

    Raises:
        InputError: naming the keys and what they may be.
    """
    ours = is_ours(config.model_class)
    keys = KEYS if ours else {name: key for name, key in KEYS.items() if key.belongs_to in (EVERY_MODEL, SEQUENTIAL_MODELS)}
    keys = {**keys, **declared_keys(config.model_class)}
    _raise_all(_complaint(name, key, config[name], config.internal_config_dict.get(name)) for name, key in keys.items())
    if Path(config["checkpoint_dir"]).is_file():
        raise InputError(f"checkpoint_dir {config['checkpoint_dir']} is a file, not a folder")
    check_refit(config)
    check_masks(config)
    if ours:
        _check_modalities(config)
        check_combinations(config)
    without = config["train_neg_sample_args"]["distribution"] == "none" and config.internal_config_dict["train_neg_sample_args"] is not None
    if without and config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE:
        raise InputError(f"{config['model']} needs negatives, and train_neg_sample_args gives none; leave it out")


def _complaint(name: str, key: Key, value: object, default: object = None) -> str | None:
    """What is wrong with a value. A key that has a value by default has one, unless it may be empty."""
    empty = value is None and (key.may_be_empty or (key.default if default is None else default) is None)
    return None if empty or key.kind.accepts(value) else key.kind.complaint(name, value)


def _raise_all(complaints) -> None:
    found = [complaint for complaint in complaints if complaint]
    if found:
        raise InputError("; ".join(found))


def _check_modalities(config: Mapping) -> None:
    """Every modality has a name that torch can give to a parameter, and comes from a file or from the encoder."""
    files = config["feature_files"] or {}
    for modality in files:
        if not modality.isidentifier() or hasattr(nn.ParameterDict, modality):
            raise InputError(f"feature_files: '{modality}' cannot be the name of a modality; call it image, text, audio or the like")
    for modality in config["modalities"] or []:
        if modality not in (*files, *READABLE):
            raise InputError(f"modalities: '{modality}' is in no feature file, and an encoder reads only {', '.join(READABLE)}"
                             f"{nearest(modality, (*files, *READABLE))}")  # fmt: skip
