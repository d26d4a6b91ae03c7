"""Recommenders by name: those of a user's plugins, ours, which are found in the files below ``model/``, and RecBole's."""

import importlib
import re
from functools import lru_cache
from pathlib import Path

from recbole_mm.config.plugins import plugin_model, plugin_models
from recbole_mm.config.properties import properties_dir, recbole_properties
from recbole_mm.errors import InputError, nearest

MODEL_ROOM = Path(__file__).resolve().parents[1] / "model"
TREES = ("lightgbm", "xgboost")
"""Models of RecBole that share nothing with its other ones."""


class OurModel:
    """The mark of a recommender of recbole_mm, or of one that a user builds on its base classes. RecBole's models do not have it.

    A recommender with this mark takes its items from ItemFeatures, so it is given a MultiModalDataset and a MultiModalTrainer.
    """


@lru_cache
def our_models() -> dict[str, str]:
    """The names of our recommenders and the modules that define them. A recommender is a class in a file below ``model/`` that has a
    property file ``properties/model/<name>.yaml``. No model is imported to find them."""
    names, found = {file.stem for file in (properties_dir() / "model").glob("*.yaml")}, {}
    for file in sorted(MODEL_ROOM.rglob("*.py")):
        module = ".".join(("recbole_mm", *file.relative_to(MODEL_ROOM.parent).with_suffix("").parts))
        classes = re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        found |= {name: module for name in classes if name in names}
    return found


def list_models() -> list[str]:
    """The names of all models that ``--model`` takes, ours first."""
    return [*our_models(), *sorted(file.stem for file in (recbole_properties() / "model").glob("*.yaml"))]


def require_model(name: str | None) -> None:
    """Raises InputError: no name, or neither the plugins nor recbole_mm nor RecBole have a model of this name."""
    if not name:
        raise InputError("no model: give --model=NAME, for example --model=CLIPRec")
    known = [*plugin_models(), *list_models()]
    if name not in known:
        where = "the plugins, recbole_mm or RecBole" if plugin_models() else "recbole_mm or RecBole"
        raise InputError(f"no model named '{name}' in {where}{nearest(str(name), known)}")


def require_dataset(name: str | None) -> None:
    """Raises InputError: no name."""
    if not name:
        raise InputError("no data set: give --dataset=NAME, for example --dataset=demo")


def get_model(name: str) -> type | None:
    """The class of that name, or None where neither the plugins nor recbole_mm nor RecBole have one.

    Raises:
        InputError: a model that needs a package which is not installed, or one that grows trees.
    """
    if plugin_model(name) is not None:
        return plugin_model(name)
    if name in our_models():
        return getattr(importlib.import_module(our_models()[name]), name)
    if name not in list_models():
        return None
    if name in TREES:
        raise InputError(f"model {name} grows trees, which RecBole's own run_recbole does, and recbole_mm does not")
    from recbole.utils import get_model as get_recbole_model

    try:
        return get_recbole_model(name)
    except ModuleNotFoundError as error:
        raise InputError(f"model {name} needs the package {error.name}, which is not installed") from error


def is_ours(model_class: type) -> bool:
    """Is it a recommender of recbole_mm, or one that a user has built on its base classes, rather than one of RecBole's?"""
    return issubclass(model_class, OurModel)
