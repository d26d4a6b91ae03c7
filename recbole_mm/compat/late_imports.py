"""Imports that take longer than a small run, and of which most runs use nothing: they are made where a name of theirs is used first."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType

SKLEARN = {
    "sklearn.metrics": ("auc", "mean_absolute_error", "mean_squared_error"),
    "sklearn.linear_model": ("ElasticNet",),
    "sklearn.exceptions": ("ConvergenceWarning",),
    "sklearn.utils.extmath": ("randomized_svd",),
}
"""What recbole/evaluator/metrics.py:29 and slimelastic.py:16 and nceplrec.py:19 of its general recommenders import, for which
``import recbole.config`` and every one of its models would load all of scikit-learn."""
TRANSFORMERS = {
    "transformers": (
        "AutoModel", "AutoTokenizer", "AutoConfig", "PretrainedConfig", "LogitsProcessorList", "TopPLogitsWarper", "TopKLogitsWarper",
        "RepetitionPenaltyLogitsProcessor", "MinLengthLogitsProcessor", "MaxLengthCriteria", "StopStringCriteria", "EosTokenCriteria",
        "StoppingCriteriaList",
    ),
    "transformers.modeling_outputs": (
        "BaseModelOutput", "BaseModelOutputWithPooling", "BaseModelOutputWithPoolingAndCrossAttentions",
    ),
    "transformers.generation": ("BeamSearchScorer",),
}  # fmt: skip
"""What open_clip/hf_model.py:13 and coca_model.py:18 import, which only models with a text tower of transformers' use."""
TIMM = {"timm": ("create_model",), "timm.layers": ("RotAttentionPool2d", "AttentionPool2d", "Mlp", "to_2tuple")}
"""What open_clip/timm_model.py:12 imports, which only models with an image tower of timm's use."""
DYNAMO = {"torch._dynamo.utils": ("is_compile_supported",)}
"""What torchvision/ops/roi_align.py:7 imports, for which ``import torchvision`` would load torch's compiler."""


class _Late:
    """Stands in for a name of a module that is not imported yet. Used first, it puts the real names in place of all stand-ins of the
    module that imported it."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._importer: ModuleType | None = None

    def __call__(self, *args, **kwargs) -> object:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> object:
        others = list(vars(self._importer).items()) if self._importer else ()
        for name, other in others:
            if isinstance(other, _Late):
                with suppress(AttributeError):  # a name that this version of the module lacks
                    setattr(self._importer, name, other._found())
        return self._found()

    def _found(self) -> object:
        return getattr(importlib.import_module(self._module), self._name)


class _LateModule(ModuleType):
    """Stands in for such a module itself, which it asks for any other name."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or sys.modules.get(self.__name__) is self:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def late(names: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """A context in which the names of some modules, by their modules, are imported as stand-ins. Names of modules that are loaded already
    are imported as they are."""
    modules = {module: _LateModule(module) for module in names if module not in sys.modules}
    for module, stand_in in modules.items():
        vars(stand_in).update({name: _Late(module, name) for name in names[module]})
    sys.modules.update(modules)
    try:
        yield
    finally:
        for module in modules:
            del sys.modules[module]


def tell_stand_ins(module: ModuleType) -> None:
    """Tells the stand-ins that a module has imported where they are."""
    for value in vars(module).values():
        if isinstance(value, _Late):
            value._importer = module
