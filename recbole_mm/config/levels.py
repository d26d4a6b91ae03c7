"""The levels of a configuration below the user's own: what property files and models' classes say."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from recbole_mm.config.config_files import read_config_files
from recbole_mm.config.known_keys import check_keys, foreign_keys
from recbole_mm.config.model_keys import declared_keys
from recbole_mm.config.parse import parse_container
from recbole_mm.config.properties import properties_dir, recbole_properties
from recbole_mm.errors import InputError

NOT_IN_A_DATA_SET = {
    "model",
    "dataset",
    "data_path",
    "config_files",
    "plugins",
    "resume",
    "init_from",
    "trust_remote_code",
    "nproc",
    "preset",
}
"""Keys that say what is run, or that run code, on which the data set does not decide."""


def property_file(file: Path, loader: type) -> dict:
    """The settings of a property file; none where there is no such file.

    Args:
        loader: RecBole's YAML loader.
    """
    return (yaml.load(file.read_text(encoding="utf-8"), Loader=loader) or {}) if file.is_file() else {}


def our_defaults(model_class: type, preset: str | None, loader: type) -> dict:
    """What our overall file says, and then, from a recommender's most basic class to its own, what each declares, what its property file
    says, and, with a preset, its file in the preset's folder."""
    defaults = property_file(properties_dir() / "overall.yaml", loader)
    for parent in reversed(model_class.__mro__):
        defaults.update({name: key.default for name, key in vars(parent).get("keys", {}).items()})
        defaults.update(property_file(properties_dir() / "model" / f"{parent.__name__}.yaml", loader))
        defaults.update(vars(parent).get("default_settings", {}))
        if preset is not None:
            defaults.update(property_file(_preset_file(parent, preset), loader))
    return defaults


def has_preset(model_class: type, preset: str, loader: type) -> bool:
    """Does a preset say anything of a recommender or of its base classes?"""
    return any(property_file(file, loader) for file in preset_files(model_class, preset))


def preset_files(model_class: type, preset: str) -> list[Path]:
    """The files that a preset has of a recommender and of its base classes."""
    return [file for parent in model_class.__mro__ if (file := _preset_file(parent, preset)).is_file()]


def _preset_file(model_class: type, preset: str) -> Path:
    return properties_dir() / preset / f"{model_class.__name__}.yaml"


def recboles_defaults(model_class: type, loader: type) -> dict:
    """What RecBole's files say of the models that a user's class is built on, and what the class declares."""
    defaults, users = {}, not model_class.__module__.startswith("recbole.")
    for parent in reversed(model_class.__mro__[1:]) if users else ():
        defaults.update(property_file(recbole_properties() / "model" / f"{parent.__name__}.yaml", loader))
    return defaults | {name: key.default for name, key in declared_keys(model_class).items()}


def data_set_file(path: Path, model_class: type, loader: type) -> tuple[Mapping[str, object], list[str]]:
    """What the file beside a data set's own says. It may serve many models, and decides on nothing but the data set.

    Returns:
        The settings for this model, and the keys that are not used; nothing where there is no such file.

    Raises:
        InputError: the file cannot be read, or nobody has one of its keys.
    """
    if not path.is_file():
        return {}, []
    content = {key: parse_container(key, value, loader) for key, value in read_config_files([path], loader).items()}
    settings = {key: value for key, value in content.items() if key not in NOT_IN_A_DATA_SET}
    try:
        check_keys(settings, model_class)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    foreign = foreign_keys(settings, model_class)
    used = {key: value for key, value in settings.items() if key not in foreign}
    return used, [key for key in content if key not in used]
