"""The folders of the property files, RecBole's and ours. Ours is inside the installed package, or beside it in a checkout."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import yaml

_PACKAGE = Path(__file__).resolve().parents[1]


SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader, ten times faster than Python's, where PyYAML was built with it."""


@lru_cache
def recbole_properties() -> Path:
    """RecBole's folder of property files, which lies beside its source. RecBole itself is not loaded.

    Raises:
        MissingPackage: RecBole is not installed.
    """
    return Path(importlib.util.find_spec("recbole").origin).parent / "properties"


def properties_dir() -> Path:
    """The folder that holds our overall.yaml, model/ and dataset/."""
    inside = _PACKAGE / "properties"
    return inside if inside.is_dir() else _PACKAGE.parent / "properties"


def keys_of_file(file: Path) -> set[str]:
    """The keys of a property file; none where there is no such file."""
    return set(yaml.load(file.read_text(encoding="utf-8"), Loader=SAFE_LOADER) or {}) if file.is_file() else set()


def model_keys_of(folder: Path) -> dict[str, list[str]]:
    """The keys in the models' property files of a folder, with the names of the models whose files have them."""
    found: dict[str, list[str]] = {}
    for file in sorted((folder / "model").glob("*.yaml")):
        for key in keys_of_file(file):
            found.setdefault(key, []).append(file.stem)
    return found
