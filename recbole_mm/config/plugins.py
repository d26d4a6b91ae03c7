"""Modules of a user's own (``plugins``), whose models, encoders and metrics are then found by name."""

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from recbole_mm.errors import InputError, nearest

_loaded: dict[str, ModuleType] = {}


def load_plugins(names: Sequence[str] | None) -> list[ModuleType]:
    """Imports the modules, each of them once in a process. What stands beside a file can be imported by it.

    Args:
        names: files (``mine.py``) and modules (``package.module``), which are looked up in the working directory too.

    Raises:
        InputError: there is no such file or module, or it raises an exception; the message says in which line.
    """
    return [_load(name) for name in plugin_paths(names)]


def plugin_paths(names: Sequence[str] | None) -> list[str]:
    """The names with files as absolute paths, so that they are found from another working directory."""
    return [str(Path(name).expanduser().resolve()) if _is_file(name) else str(name) for name in names or ()]


def plugin_model(name: str) -> type | None:
    """The recommender of that name in the modules loaded so far; None where there is none."""
    return plugin_models().get(name)


def plugin_models() -> dict[str, type]:
    """The recommenders in the modules loaded so far, by name: subclasses of RecBole's or of ours that a user has written."""
    if not _loaded:
        return {}
    from recbole.model.abstract_recommender import AbstractRecommender

    return {cls.__name__: cls for module in _loaded.values() for cls in _own_classes(module, AbstractRecommender)}


def _load(name: str) -> ModuleType:
    if name not in _loaded:
        module = _module_of_file(Path(name)) if _is_file(name) else _module_of_name(name)
        _loaded[name] = module
        _register_metrics(module)
    return _loaded[name]


def _is_file(name: object) -> bool:
    return str(name).endswith(".py") or os.sep in str(name) or "/" in str(name)


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        others = [file.name for file in path.parent.glob("*.py")]
        raise InputError(f"plugins: there is no file {path}{nearest(path.name, others)}")
    for module in list(sys.modules.values()):  # a script that the user's own code has imported already
        if getattr(module, "__file__", None) == str(path) and module.__name__ != "__main__":
            return module
    own_name = _free_name(path)
    spec = importlib.util.spec_from_file_location(own_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"plugins: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    _importable(path.parent)
    sys.modules[own_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[own_name]
        raise InputError(_complaint(str(path), error)) from error
    return module


def _free_name(path: Path) -> str:
    """The file's own name, unless another module has it."""
    found = importlib.util.find_spec(path.stem) if path.stem.isidentifier() and path.stem not in sys.modules else None
    if path.stem.isidentifier() and path.stem not in sys.modules and (found is None or found.origin == str(path)):
        return path.stem
    return f"{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"


def _module_of_name(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) is None:
            raise InputError(f"plugins: {name} is a folder without __init__.py; name a file or a module in it")
        return module
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(f"plugins: there is no module {name}; a file ends in .py") from error
        raise InputError(_complaint(name, error)) from error
    except (Exception, SystemExit) as error:
        raise InputError(_complaint(name, error)) from error


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _complaint(name: str, error: BaseException) -> str:
    """Which line of the user's own code raised it."""
    if isinstance(error, SyntaxError):
        where = (error.filename or name, error.lineno or 0)
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen") and __file__ != f.filename]
        own = [f for f in frames if "site-packages" not in f.filename and os.sep + "recbole_mm" + os.sep not in f.filename] or frames
        where = (own[-1].filename, own[-1].lineno or 0) if own else (name, 0)
    says = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"plugins: {where[0]}, line {where[1]}: {type(error).__name__}: {says}".removesuffix(": ")


def _own_classes(module: ModuleType, base: type) -> Iterable[type]:
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, base) and cls.__module__.partition(".")[0] not in ("recbole", "recbole_mm"):
            yield cls


def _register_metrics(module: ModuleType) -> None:
    """A metric that a user has written is found by its class's name, as RecBole's are."""
    from recbole.evaluator import register
    from recbole.evaluator.base_metric import AbstractMetric

    for metric in _own_classes(module, AbstractMetric):
        name = metric.__name__.lower()
        if not (hasattr(metric, "metric_need") and hasattr(metric, "metric_type")):
            continue
        register.metrics_dict[name], register.metric_information[name] = metric, metric.metric_need
        register.metric_types[name] = metric.metric_type
        if metric.smaller and name not in register.smaller_metrics:
            register.smaller_metrics.append(name)
