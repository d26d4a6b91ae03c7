"""The folders of the property files, RecBole's and ours. Ours is inside the installed package, or beside it in a checkout."""

import importlib.util
from pathlib import Path

RECBOLE_PROPERTIES = Path(importlib.util.find_spec("recbole").origin).parent / "properties"
_PACKAGE = Path(__file__).resolve().parents[1]


def properties_dir() -> Path:
    """The folder that holds our overall.yaml, model/ and dataset/."""
    inside = _PACKAGE / "properties"
    return inside if inside.is_dir() else _PACKAGE.parent / "properties"
