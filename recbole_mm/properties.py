"""Where the property files are: inside the installed package, or beside it in a checkout."""

from pathlib import Path

import recbole

RECBOLE_PROPERTIES = Path(recbole.__file__).parent / "properties"
_PACKAGE = Path(__file__).resolve().parent


def properties_dir() -> Path:
    """The folder with overall.yaml, model/ and dataset/."""
    inside = _PACKAGE / "properties"
    return inside if inside.is_dir() else _PACKAGE.parent / "properties"
