"""The registry of recommenders: ours first, then RecBole's."""

import importlib

from recbole.utils import get_model as get_recbole_model

from recbole_mm.errors import InputError
from recbole_mm.properties import RECBOLE_PROPERTIES

OUR_MODELS = {
    **dict.fromkeys(("CLIPRec", "VLMoRec", "BEiT3Rec"), "recbole_mm.model.cliprec"),
    "VBPR": "recbole_mm.model.vbpr",
    "LightGCNM": "recbole_mm.model.lightgcnm",
    "LATTICE": "recbole_mm.model.lattice",
    "FREEDOM": "recbole_mm.model.freedom",
    "MGCN": "recbole_mm.model.mgcn",
    "MMGCN": "recbole_mm.model.mmgcn",
    "MMGCL": "recbole_mm.model.mmgcl",
    "SLMRec": "recbole_mm.model.slmrec",
    "BM3": "recbole_mm.model.bm3",
}


def list_models() -> list[str]:
    """The names of all models that --model takes."""
    return [*OUR_MODELS, *sorted(file.stem for file in (RECBOLE_PROPERTIES / "model").glob("*.yaml"))]


def get_model(name: str) -> type | None:
    """The class of that name, or None where neither recbole_mm nor RecBole has one.

    Raises:
        InputError: a model that needs a package which is not installed.
    """
    if name in OUR_MODELS:
        return getattr(importlib.import_module(OUR_MODELS[name]), name)
    try:
        return get_recbole_model(name) if name in list_models() else None
    except ModuleNotFoundError as error:
        raise InputError(f"model {name} needs the package {error.name}, which is not installed") from error


def is_ours(model_class: type) -> bool:
    """Does it take its items from ItemFeatures (and so want a MultiModalDataset and a MultiModalTrainer)?"""
    from recbole_mm.model.base import MultiModalRecommender

    return issubclass(model_class, MultiModalRecommender)


def __getattr__(name: str) -> type:
    if name in OUR_MODELS:
        return get_model(name)
    raise AttributeError(f"module 'recbole_mm.model' has no attribute '{name}'")
