"""Which configuration keys exist, and which of them are foreign to a model."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from recbole.utils import ModelType

from recbole_mm.config.keys import KEYS
from recbole_mm.config.kinds import EVERY_MODEL, SEQUENTIAL_MODELS
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.properties import keys_of_file, model_keys_of, properties_dir, recbole_properties
from recbole_mm.config.registry import is_ours, our_models
from recbole_mm.config.source_keys import keys_read_by, recboles_common_keys, recboles_models_keys, transforms_keys
from recbole_mm.errors import InputError, nearest

COMMAND_KEYS = {"model", "dataset", "config_files", "nproc", "ip", "port", "world_size", "group_offset"}
OF_OURS = "recbole_mm's models"
OF_SEQUENCES = f"{SEQUENTIAL_MODELS} (all others mask what a user had before)"
MODELS_NAMED = 4
"""How many models a complaint names that have a key."""
ABBREVIATIONS = {"lr": "learning_rate", "wd": "weight_decay"}
REPLACED = {"neg_sampling": "train_neg_sample_args", "training_neg_sample_num": "train_neg_sample_args", "eval_setting": "eval_args",
            "group_by_user": "eval_args", "real_time_process": "eval_args", "split_ratio": "eval_args", "lowest_val": "val_interval",
            "highest_val": "val_interval", "min_user_inter_num": "user_inter_num_interval", "drop_filter_field": "val_interval",
            "min_item_inter_num": "item_inter_num_interval"}  # fmt: skip
"""Keys of RecBole before 1.0, and what took their place."""
DERIVED = {
    "device": "use_gpu and gpu_id", "eval_type": "metrics", "valid_neg_sample_args": "eval_args", "test_neg_sample_args": "eval_args",
    "MODEL_TYPE": "model", "MODEL_INPUT_TYPE": "model", "single_spec": "nproc", "config_file": "--config_files",
    "config_files": "--config_files on the command line, or config_file_list",
}  # fmt: skip
"""Keys that RecBole sets itself, whatever somebody gives, and what they follow from."""


@lru_cache
def our_keys() -> set[str]:
    """The keys that recbole_mm adds to RecBole's: those of the table, and those of our models."""
    return {*KEYS, *model_keys_of(properties_dir())} - recbole_keys()


@lru_cache
def recbole_keys() -> set[str]:
    """The keys of RecBole's property files, its argument lists, and every ``config["..."]`` in its source."""
    keys = COMMAND_KEYS | recboles_common_keys() | transforms_keys() | recboles_models_keys()
    for file in recbole_properties().rglob("*.yaml"):
        if "url" not in file.stem:
            keys.update(keys_of_file(file))
    return keys


@lru_cache
def common_keys() -> set[str]:
    """The keys that are read whatever the model."""
    return COMMAND_KEYS | recboles_common_keys() | {name for name, key in KEYS.items() if key.belongs_to == EVERY_MODEL}


@lru_cache
def keys_of_sequences() -> set[str]:
    """The keys that are read for sequential models alone."""
    return {name for name, key in KEYS.items() if key.belongs_to == SEQUENTIAL_MODELS}


@lru_cache
def model_keys() -> dict[str, list[str]]:
    """The keys that only recommenders read, with the names of the models that have them: ours first, then RecBole's."""
    found: dict[str, list[str]] = {}
    for folder in (properties_dir(), recbole_properties()):
        for key, models in model_keys_of(folder).items():
            if key not in common_keys() and key not in KEYS:
                found.setdefault(key, []).extend(models)
    return found


def foreign_keys(keys: Mapping[str, object], model_class: type) -> dict[str, str]:
    """Those of ``keys`` that other models have and this one has not, with the names of those that have them.

    A model of a user's own may read keys with the names of RecBole's models' keys.
    """
    own = _own_keys(keys, model_class)
    if own is None:
        return {}
    builtin = _is_built_in(model_class)
    found = {} if is_sequential(model_class) else {key: OF_SEQUENCES for key in keys if key in keys_of_sequences()}
    for key in keys:
        if key in own or key in common_keys() or key in keys_of_sequences():
            continue
        others = [m for m in model_keys().get(key, ()) if builtin or m in our_models()]
        if key in KEYS:
            found[key] = OF_OURS
        elif others:
            found[key] = _first_models(others)
        elif builtin and key in recbole_keys():
            found[key] = "other models of RecBole"
    return found


def foreign_facts(foreign: Mapping[str, str], model_class: type) -> list[str]:
    """A line for each owner of foreign keys: ``VBPR has no loss_type, a key of CLIPRec``."""
    owners: dict[str, list[str]] = {}
    for key, owner in foreign.items():
        owners.setdefault(owner, []).append(key)
    hint = "" if _is_built_in(model_class) else "; a model of your own names its keys in its class (keys, or default_settings)"
    return [
        f"{model_class.__name__} has no {', '.join(keys)}, {'a key' if len(keys) == 1 else 'keys'} of {owner}{hint}"
        for owner, keys in owners.items()
    ]


def known_keys(model_class: type | None = None) -> set[str]:
    """RecBole's keys, ours, and those that a model class of the user's declares or reads."""
    declared = set(declared_keys(model_class)) | (keys_read_by(model_class) or set()) if model_class else set()
    return our_keys() | recbole_keys() | declared


def unknown_keys(keys: Iterable[object], model_class: type) -> dict[object, str]:
    """The keys that nobody has, with a suggestion for each, and those that nobody sets, with what they follow from.

    A class of a user's own that is built on RecBole's models and whose source cannot be read may have any key, unless it is nearly one of
    ours.
    """
    known, any_key = known_keys(model_class), not is_ours(model_class) and keys_read_by(model_class) is None
    found = {}
    for key in keys:
        if key in DERIVED:
            found[key] = f"{key} follows from {DERIVED[key]}, and cannot be set"
        if key in known or key in DERIVED:
            continue
        spelt_out = "_".join(ABBREVIATIONS.get(part, part) for part in str(key).split("_"))
        hint = nearest(spelt_out, our_keys() if any_key else known, cutoff=0.85 if any_key else 0.5)
        if str(key) in REPLACED:
            hint = f" (which is {REPLACED[str(key)]} in RecBole 1.2)"
        if hint or not any_key:
            found[key] = hint
    return found


def check_keys(keys: Iterable[object], model_class: type) -> None:
    """Raises InputError: some keys are nobody's, or are not to be set; the line names all of them, with the nearest known one of each."""
    found = unknown_keys(keys, model_class)
    unknown = [f"'{key}'{hint}" for key, hint in found.items() if key not in DERIVED]
    derived = [facts for key, facts in found.items() if key in DERIVED]
    told = [f"unknown key{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}"] if unknown else []
    if told or derived:
        raise InputError("; ".join([*told, *derived]))


def is_sequential(model_class: type) -> bool:
    """Does a model read histories in the order of time?"""
    return getattr(model_class, "type", None) == ModelType.SEQUENTIAL


def _is_built_in(model_class: type) -> bool:
    """Is it a model of recbole_mm's or RecBole's, rather than a user's own?"""
    return model_class.__module__.partition(".")[0] in ("recbole", "recbole_mm")


def _own_keys(keys: Mapping[str, object], model_class: type) -> set[str] | None:
    """The keys of a model, beside those that are read whatever the model; None where it may have any."""
    parents = [parent.__name__ for parent in model_class.__mro__]
    declared, read = set(declared_keys(model_class)), keys_read_by(model_class)
    if is_ours(model_class):
        files = [properties_dir() / "model" / f"{name}.yaml" for name in parents]
        return declared.union(KEYS, *map(keys_of_file, files), read or ())
    own = declared.union(*(keys_of_file(recbole_properties() / "model" / f"{name}.yaml") for name in parents))
    if read is None:
        return None
    return own | read | (transforms_keys() if keys.get("transform") or "transform" in own else set())


def _first_models(models: list[str]) -> str:
    shown, more = models[:MODELS_NAMED], len(models) - MODELS_NAMED
    return ", ".join(shown) + (f" and {more} others" if more > 0 else "")
