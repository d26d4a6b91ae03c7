"""Which configuration keys Python source reads: RecBole's rooms, one model of RecBole's, or a class of a user's own."""

import inspect
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from recbole.utils import argument_list

from recbole_mm.config.properties import keys_of_file, recbole_properties

READS = re.compile(
    r"config\[\s*[\"']([\w-]+)[\"']|[\"']([\w-]+)[\"'](?: not)? in (?:self\.)?config\b|(?<!recbole\.)config\.([a-z]\w+)\b(?!\()"
)
"""``config["key"]``, ``"key" in config`` and ``config.key``."""
TRANSFORMS = Path("data/transform.py")
"""What the key ``transform`` chooses from. Its keys are read by nobody else."""
ARGUMENTS = ("general_arguments", "training_arguments", "evaluation_arguments", "dataset_arguments")
RETIRED = {"config_file"}
"""What RecBole lists and reads nowhere."""


def keys_in(source: str) -> set[str]:
    """The configuration keys that a source text reads."""
    return {key for found in READS.findall(source) for key in found if key}


@lru_cache
def recboles_common_keys() -> set[str]:
    """What RecBole reads whatever the model."""
    keys = keys_of_file(recbole_properties() / "overall.yaml").union(*(getattr(argument_list, name) for name in ARGUMENTS)) - RETIRED
    rooms = (_recbole() / room for room in ("config", "data", "evaluator", "quick_start", "sampler", "utils"))
    keys |= _indexed_in(file for room in rooms for file in room.rglob("*.py") if file != _recbole() / TRANSFORMS)
    return keys | {"device", "eval_type", "model", "dataset", "single_spec", "local_rank", "world_size"}


@lru_cache
def transforms_keys() -> set[str]:
    """The keys of RecBole's transformations of batches (``transform``)."""
    return _indexed_in([_recbole() / TRANSFORMS])


@lru_cache
def recboles_models_keys() -> set[str]:
    """What RecBole's models and their trainers read."""
    return _indexed_in(file for room in ("model", "trainer") for file in (_recbole() / room).rglob("*.py"))


def _recbole() -> Path:
    return recbole_properties().parent


def _indexed_in(files: Iterable[Path]) -> set[str]:
    """Every ``config["..."]`` in some files."""
    return {found[0] for file in files for found in READS.findall(file.read_text(encoding="utf-8")) if found[0]}


@lru_cache
def keys_read_by(model_class: type) -> set[str] | None:
    """The keys that the source of a class and its bases reads: RecBole's own with their trainers, and those of a user's own with all that
    is loaded of their package. None where the source of a user's class cannot be read, so that it may read any key."""
    keys: set[str] = set()
    for parent in model_class.__mro__:
        room = parent.__module__.partition(".")[0]
        if room == "recbole":
            keys |= keys_in(_source_of_recboles(parent))
        elif room not in ("recbole_mm", "torch", "builtins", "abc"):
            found = _source_of_a_users(parent)
            if found is None:
                return None
            keys |= keys_in(found)
    return keys | _trainers_keys(model_class)


def _source_of_recboles(model_class: type) -> str:
    abstract = model_class.__module__.endswith("abstract_recommender")
    return inspect.getsource(model_class if abstract else sys.modules[model_class.__module__])


def _source_of_a_users(model_class: type) -> str | None:
    package = model_class.__module__.partition(".")[0]
    modules = [module for name, module in list(sys.modules.items()) if name == package or name.startswith(f"{package}.")]
    try:
        own = inspect.getsource(sys.modules.get(model_class.__module__, model_class))
    except (OSError, TypeError):
        return None
    return own + "".join(map(_readable_source, modules)) if "." in model_class.__module__ else own


def _readable_source(module: object) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


def _trainers_keys(model_class: type) -> set[str]:
    from recbole.trainer import AbstractTrainer, Trainer
    from recbole.utils import get_trainer

    trainers = get_trainer(model_class.type, model_class.__name__).__mro__
    special = [t for t in trainers if t.__module__.startswith("recbole.") and t not in (Trainer, AbstractTrainer)]
    return {key for trainer in special for key in keys_in(inspect.getsource(trainer))}
