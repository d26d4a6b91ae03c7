"""torch's optimisers without torch._dynamo, which takes longer to import than a small run takes to train."""

import sys
from collections.abc import Callable
from functools import wraps
from inspect import isclass, isfunction
from types import ModuleType

COMPILER = "torch._dynamo"


def fix_optimizers(module: ModuleType) -> None:
    """torch/optim/optimizer.py:61 and torch/_compile.py:47, which import torch._dynamo to tell a compiler at work to stop there: every
    ``step`` does so, and some other methods. Until somebody imports it nothing can be compiled, and they are called without it."""
    for optimizer in vars(module).values():
        if isclass(optimizer) and issubclass(optimizer, module.Optimizer):
            for name, method in list(vars(optimizer).items()):
                if isfunction(method) and COMPILER in method.__code__.co_names and hasattr(method, "__wrapped__"):
                    setattr(optimizer, name, _without_compiler(method, is_step=name == "step"))


def _without_compiler(method: Callable, is_step: bool) -> Callable:
    """The method as torch has it once there is a compiler, and what it wraps before that. A step runs without gradients."""
    import torch

    @wraps(method)
    def call(self, *args, **kwargs):
        if COMPILER in sys.modules:
            return method(self, *args, **kwargs)
        if not is_step:
            return method.__wrapped__(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return method.__wrapped__(self, *args, **kwargs)

    return call
