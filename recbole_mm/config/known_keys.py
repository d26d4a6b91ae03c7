"""Which configuration keys exist, and which of them are foreign to a model."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml
from recbole.utils import argument_list

from recbole_mm.config.keys import KEYS
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.properties import properties_dir, recbole_properties
from recbole_mm.config.registry import is_ours, our_models
from recbole_mm.errors import InputError, nearest

COMMAND_KEYS = {"model", "dataset", "config_files", "nproc", "ip", "port", "world_size", "group_offset"}
MODELS_NAMED = 4
"""How many models a complaint names that have a key."""
ABBREVIATIONS = {"lr": "learning_rate", "wd": "weight_decay"}


@lru_cache
def our_keys() -> set[str]:
    """The keys that recbole_mm adds to RecBole's: those of the table, and those of our models."""
    return {*KEYS, *model_keys_of(properties_dir())} - recbole_keys()


@lru_cache
def recbole_keys() -> set[str]:
    """The keys of RecBole's property files, its argument lists, and every ``config["..."]`` in its source."""
    keys = _recboles_common_keys() | _keys_read_in(recbole_properties().parent / "model")
    for file in recbole_properties().rglob("*.yaml"):
        if "url" not in file.stem:
            keys.update(keys_of_file(file))
    return keys


@lru_cache
def model_keys() -> dict[str, list[str]]:
    """The keys that only recommenders read, with the names of the models that have them: ours first, then RecBole's."""
    found: dict[str, list[str]] = {}
    common = _recboles_common_keys() | set(KEYS)
    for folder in (properties_dir(), recbole_properties()):
        for key, models in model_keys_of(folder).items():
            if key not in common:
                found.setdefault(key, []).extend(models)
    return found


def foreign_keys(keys: Iterable[str], model_class: type) -> dict[str, str]:
    """Those of ``keys`` that other models have and this one has not, with a line for each that says so.

    RecBole's models take any key. A model of a user's own may read keys with the names of RecBole's models' keys.
    """
    if not is_ours(model_class):
        return {}
    name, own = model_class.__name__, set(declared_keys(model_class))
    for parent in model_class.__mro__:
        own |= keys_of_file(properties_dir() / "model" / f"{parent.__name__}.yaml")
    others = {key: [m for m in model_keys().get(key, ()) if name in our_models() or m in our_models()] for key in keys if key not in own}
    hint = "" if name in our_models() else "; a model of your own names its keys in its class (keys, or default_settings)"
    return {key: f"{name} has no {key}, a key of {_first_models(models)}{hint}" for key, models in others.items() if models}


def known_keys(model_class: type | None = None) -> set[str]:
    """RecBole's keys, ours, and those that a model class of the user's declares."""
    return our_keys() | recbole_keys() | set(declared_keys(model_class) if model_class else ())


def check_keys(keys: Iterable[str], model_class: type) -> None:
    """RecBole's models take any key, as in RecBole, unless it is nearly one of our keys; our models take known keys only.

    Raises:
        InputError: naming the unknown key and the nearest known one.
    """
    ours, known = is_ours(model_class), known_keys(model_class)
    for key in keys:
        if key in known:
            continue
        spelt_out = "_".join(ABBREVIATIONS.get(part, part) for part in str(key).split("_"))
        hint = nearest(spelt_out, known if ours else our_keys(), cutoff=0.5 if ours else 0.85)
        if ours or hint:
            raise InputError(f"unknown key '{key}'{hint}")


@lru_cache
def _recboles_common_keys() -> set[str]:
    """What RecBole reads whatever the model."""
    keys = COMMAND_KEYS | keys_of_file(recbole_properties() / "overall.yaml")
    for name in ("general_arguments", "training_arguments", "evaluation_arguments", "dataset_arguments"):
        keys.update(getattr(argument_list, name))
    rooms = (folder for folder in recbole_properties().parent.iterdir() if folder.is_dir() and folder.name != "model")
    return keys.union(*map(_keys_read_in, rooms))


def _keys_read_in(folder: Path) -> set[str]:
    """Every ``config["..."]`` in the source files of a folder."""
    files = (file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))
    return {key for text in files for key in re.findall(r"config\[\s*[\"'](\w+)[\"']\s*\]", text)}


def model_keys_of(folder: Path) -> dict[str, list[str]]:
    """The keys in the models' property files of a folder, with the names of the models whose files have them."""
    found: dict[str, list[str]] = {}
    for file in sorted((folder / "model").glob("*.yaml")):
        for key in keys_of_file(file):
            found.setdefault(key, []).append(file.stem)
    return found


def keys_of_file(file: Path) -> set[str]:
    """The keys of a property file; none where there is no such file."""
    return set(yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else set()


def _first_models(models: list[str]) -> str:
    shown, more = models[:MODELS_NAMED], len(models) - MODELS_NAMED
    return ", ".join(shown) + (f" and {more} others" if more > 0 else "")
