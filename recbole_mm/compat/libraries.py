"""Shims for the libraries below RecBole: what recbole 1.2.1 needs on today's numpy, scipy, torch and torchvision.

Every shim is for one line of RecBole (or for one broken wheel). It does nothing where that line works, and can be deleted with it.
"""

import importlib.util
import warnings
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


def fix_cudnn_attention() -> None:
    """torch 2.11 gives attention in bf16 or fp16 to cuDNN on a Hopper GPU. For every new size of batch cuDNN makes a new plan, which takes
    longer than the training step; torch's other fused kernels need none."""
    import torch

    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
        torch.backends.cuda.enable_cudnn_sdp(False)


def fix_libraries() -> None:
    """What must be in place before RecBole is imported."""
    fix_numpy()
    fix_scipy()
    fix_warnings()
    fix_torchvision()
    fix_cudnn_attention()
