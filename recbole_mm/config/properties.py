"""The folders of the property files, RecBole's and ours. Ours is inside the installed package, or beside it in a checkout."""

import importlib.util
from functools import lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


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
