"""Which configuration keys exist."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml
from recbole.utils import argument_list

from recbole_mm.config.properties import RECBOLE_PROPERTIES, properties_dir
from recbole_mm.config.registry import is_ours, our_models
from recbole_mm.errors import InputError, nearest

COMMAND_KEYS = {"model", "dataset", "config_files", "nproc", "ip", "port", "world_size", "group_offset"}
NAMED = 4
ABBREVIATIONS = {"lr": "learning_rate", "wd": "weight_decay"}


@lru_cache
def our_keys() -> set[str]:
    """The keys that our property files add to RecBole's."""
    files = [properties_dir() / "overall.yaml", *(properties_dir() / "model").glob("*.yaml")]
    return set().union(*(_keys_of(file) for file in files)) - recbole_keys()


@lru_cache
def recbole_keys() -> set[str]:
    """The keys of RecBole's property files, its argument lists, and every ``config["..."]`` in its source."""
    keys = _recboles_common_keys() | _read_in(RECBOLE_PROPERTIES.parent / "model")
    for file in RECBOLE_PROPERTIES.rglob("*.yaml"):
        if "url" not in file.stem:
            keys.update(_keys_of(file))
    return keys


@lru_cache
def model_keys() -> dict[str, list[str]]:
    """The keys that only recommenders read, of our property files and RecBole's, with the names of the models that have them."""
    found: dict[str, list[str]] = {}
    common = _recboles_common_keys() | _keys_of(properties_dir() / "overall.yaml")
    for folder in (properties_dir(), RECBOLE_PROPERTIES):
        for file in sorted((folder / "model").glob("*.yaml")):
            for key in _keys_of(file) - common:
                found.setdefault(key, []).append(file.stem)
    return found


def foreign_keys(keys: Iterable[str], model_class: type) -> dict[str, str]:
    """Of these keys those that other models have and this one of ours (its class and bases) has not, with what to say of them. A model of
    the user's own may read keys like those of RecBole's models."""
    if not is_ours(model_class):
        return {}
    name = model_class.__name__
    own: set[str] = set()
    for parent in model_class.__mro__:
        file = properties_dir() / "model" / f"{parent.__name__}.yaml"
        own |= {*vars(parent).get("default_settings", ()), *vars(parent).get("choices", ()), *(_keys_of(file) if file.is_file() else ())}
    others = {key: [m for m in model_keys().get(key, ()) if name in our_models() or m in our_models()] for key in keys if key not in own}
    hint = "" if name in our_models() else "; a model of your own names its keys in default_settings"
    return {key: f"{name} has no {key}, a key of {_named(models)}{hint}" for key, models in others.items() if models}


def known_keys(model_class: type | None = None) -> set[str]:
    """RecBole's, ours, and those that a model class of the user's brings in ``default_settings``."""
    own = getattr(model_class, "default_settings", {})
    return our_keys() | recbole_keys() | set(own)


def check_keys(keys: Iterable[str], model_class: type) -> None:
    """RecBole's models take any key, as in RecBole, but one that is nearly a key of ours; our models take known keys only.

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
    keys = COMMAND_KEYS | _keys_of(RECBOLE_PROPERTIES / "overall.yaml")
    for name in ("general_arguments", "training_arguments", "evaluation_arguments", "dataset_arguments"):
        keys.update(getattr(argument_list, name))
    rooms = (folder for folder in RECBOLE_PROPERTIES.parent.iterdir() if folder.is_dir() and folder.name != "model")
    return keys.union(*map(_read_in, rooms))


def _read_in(folder: Path) -> set[str]:
    files = (file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))
    return {key for text in files for key in re.findall(r"config\[\s*[\"'](\w+)[\"']\s*\]", text)}


def _named(models: list[str]) -> str:
    return ", ".join(models) if len(models) <= NAMED else f"{', '.join(models[:NAMED])} and {len(models) - NAMED} others"


def _keys_of(file: Path) -> set[str]:
    return set(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
