"""Runs the shims when the module that needs them is imported."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from recbole_mm.compat.late_imports import DYNAMO, SKLEARN, TIMM, TRANSFORMERS, late, tell_stand_ins
from recbole_mm.compat.libraries import fix_libraries, fix_torchvision
from recbole_mm.compat.optimizers import fix_optimizers
from recbole_mm.compat.recbole_modules import fix_case_study, fix_collector, fix_quick_start, fix_trainer, keeping_anomaly_mode, without_ray
from recbole_mm.errors import MissingPackage


def _fix_dataset(module: ModuleType) -> None:
    from recbole_mm.compat.recbole_dataset import fix_dataset  # which loads pandas

    fix_dataset(module)


@dataclass(frozen=True)
class Shim:
    """What is done when a module is imported for the first time, by whomever.

    Attributes:
        before: runs before the module's code.
        during: a context in which the module's code runs.
        after: gets the module once its code has run.
    """

    before: Callable[[], None] = lambda: None
    during: Callable[[], AbstractContextManager] = nullcontext
    after: Callable[[ModuleType], None] = lambda module: None


SKLEARN_LATE, TRANSFORMERS_LATE, TIMM_LATE, DYNAMO_LATE = (
    Shim(during=partial(late, names), after=tell_stand_ins) for names in (SKLEARN, TRANSFORMERS, TIMM, DYNAMO)
)
SHIMS: Mapping[str, Shim] = {
    "recbole": Shim(before=fix_libraries),
    "recbole.evaluator.metrics": SKLEARN_LATE,
    "recbole.model.general_recommender.nceplrec": SKLEARN_LATE,
    "recbole.model.general_recommender.slimelastic": SKLEARN_LATE,
    "recbole.model.sequential_recommender.sine": Shim(during=keeping_anomaly_mode),
    "recbole.data.dataset.dataset": Shim(after=_fix_dataset),
    "recbole.trainer.trainer": Shim(after=fix_trainer),
    "recbole.evaluator.collector": Shim(after=fix_collector),
    "recbole.utils.case_study": Shim(after=fix_case_study),
    "recbole.quick_start.quick_start": Shim(during=without_ray, after=fix_quick_start),
    "torch.optim": Shim(after=fix_optimizers),
    "torchvision": Shim(before=fix_torchvision),
    "torchvision.ops.roi_align": DYNAMO_LATE,
    "open_clip.coca_model": TRANSFORMERS_LATE,
    "open_clip.hf_model": TRANSFORMERS_LATE,
    "open_clip.timm_model": TIMM_LATE,
}


def install() -> None:
    """Lets ``SHIMS`` run when their modules are imported: nothing is loaded for a program that does not import them. For a module that is
    there already, its shim runs now."""
    if not any(isinstance(finder, _ShimFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ShimFinder())
    for name, shim in SHIMS.items():
        if name in sys.modules:
            shim.before()
            shim.after(sys.modules[name])


class _ShimFinder(MetaPathFinder):
    """Finds the modules in ``SHIMS`` as Python does, and runs their shims around their code.

    Raises:
        MissingPackage: RecBole itself is not installed.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in SHIMS:
            return None
        others = (finder for finder in sys.meta_path if not isinstance(finder, _ShimFinder))
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target))), None)
        if spec is None and name == "recbole":
            raise MissingPackage(
                "RecBole is not installed: run pip install --no-deps recbole==1.2.1 (on Python 3.12 and newer it is a command of its own)",
                name="recbole",
            )
        if spec is not None and spec.loader is not None:
            execute, shim = spec.loader.exec_module, SHIMS[name]

            def with_the_shim(module: ModuleType) -> None:
                shim.before()
                with shim.during():
                    execute(module)
                shim.after(module)

            spec.loader.exec_module = with_the_shim
        return spec
