"""What recbole 1.2.1 needs on today's numpy, scipy, torch and torchvision.

Every shim is for one line of RecBole (or for one broken wheel). It does nothing where that line works, and can be deleted with it.
pandas is the exception: under pandas 3, RecBole's ``fillna(inplace=True)`` on a column does nothing, which no shim can mend, so
pyproject.toml asks for pandas < 3. ray is never imported: only ``recbole.quick_start`` imports it, and nothing here imports that module.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_declared = []


def fix_numpy() -> None:
    """recbole/config/configurator.py:630, ``np.float = np.float_`` and its neighbours: removed in numpy 2."""
    import numpy as np

    for name, value in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_}.items():
        if not hasattr(np, name):
            setattr(np, name, value)


def fix_scipy() -> None:
    """recbole/model/general_recommender/lightgcn.py:111, ``dok_matrix._update``: gone since scipy 1.13 (seven models use it)."""
    import scipy.sparse

    if not hasattr(scipy.sparse.dok_matrix, "_update"):
        scipy.sparse.dok_matrix._update = lambda self, data: self._dict.update(data)


def fix_warnings() -> None:
    """Lines that work, but warn of future versions on every call: recbole/data/dataset/dataset.py:509, ``inplace`` on a column (correct
    under pandas 2), trainer.py:235, ``torch.cuda.amp.GradScaler``, and lightgcn.py:125, ``torch.sparse.FloatTensor``."""
    for category in (FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"recbole\.(data|trainer|model)\.")


def fix_torchvision() -> None:
    """torchvision's wheel is built for CUDA. Beside a CPU-only torch its library does not load, and ``import torchvision`` then fails on
    two operators that nothing has declared. Declaring their schemas is enough for its transforms, and so for open_clip and timm."""
    spec = importlib.util.find_spec("torchvision")
    if _declared or spec is None or spec.origin is None:
        return
    import torch

    libraries = [path for path in Path(spec.origin).parent.glob("_C.*") if path.suffix in (".so", ".pyd", ".dylib")]
    try:
        for path in libraries:
            torch.ops.load_library(str(path))
    except (OSError, ImportError):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)


def fix_recbole_checkpoints() -> None:
    """recbole/trainer/trainer.py:323 and :583, ``torch.load`` without arguments: torch >= 2.6 refuses the pickled Config in RecBole's own
    checkpoints. The former default is restored for that module only, which our trainer does not use for loading."""
    import recbole.trainer.trainer as module
    import torch

    if torch.__version__ >= torch.torch_version.TorchVersion("2.6") and module.torch is torch:
        module.torch = _With(torch, load=partial(torch.load, weights_only=False))


class _With:
    """A module of which some names are replaced."""

    def __init__(self, module: object, **names: object) -> None:
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


@contextmanager
def no_tensorboard() -> Iterator[None]:
    """recbole/trainer/trainer.py:115: every trainer writes into log_tensorboard. Of several processes, only the first one should."""
    import recbole.trainer.trainer as module

    original, module.get_tensorboard = module.get_tensorboard, lambda _: _Silent()
    try:
        yield
    finally:
        module.get_tensorboard = original


def fix_cudnn_attention() -> None:
    """torch 2.11 gives attention in bf16 or fp16 to cuDNN on a Hopper GPU. For every new size of batch cuDNN makes a new plan, which takes
    longer than the training step; torch's other fused kernels need none."""
    import torch

    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
        torch.backends.cuda.enable_cudnn_sdp(False)


class _Silent:
    """Takes any call and does nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None


def apply() -> None:
    """What must be in place before recbole is imported."""
    fix_numpy()
    fix_scipy()
    fix_warnings()
    fix_torchvision()
    fix_cudnn_attention()


SHIMS: Mapping[str, Callable[[], None]] = {"recbole": apply, "torchvision": fix_torchvision}
"""What runs just before a package is imported for the first time, by whomever."""


def install() -> None:
    """Lets ``SHIMS`` run when their packages are imported: nothing is loaded for a program that does not import them. For a package that
    is there already, its shim runs now."""
    if not any(isinstance(finder, _ShimFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ShimFinder())
    for package, shim in SHIMS.items():
        if package in sys.modules:
            shim()


class _ShimFinder(MetaPathFinder):
    """Finds the packages in ``SHIMS`` as Python does, and runs their shims before their code."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in SHIMS else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def after_the_shim(module: object) -> None:
                SHIMS[name]()
                execute(module)

            spec.loader.exec_module = after_the_shim
        return spec
