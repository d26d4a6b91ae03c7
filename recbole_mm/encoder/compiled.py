"""torch.compile for the blocks of an encoder."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.errors import InputError

BACKEND = "inductor"
VARIANTS = 64
"""How many compiled variants of a function torch keeps before it runs the function uncompiled. Its own limit is 8; a block has a variant
for each modality, mode, kind of gradient and place in the tower, once for a fixed batch size and once for any."""


def compile_blocks(encoder: ItemEncoder, device: torch.device | str) -> None:
    """Compiles every block of ``encoder.layers()``, in place, when the block is first called.

    Args:
        device: where the encoder will run.

    Raises:
        InputError: torch.compile cannot work there: a CPU needs a C++ compiler, a GPU Triton.
    """
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = max(VARIANTS, torch._dynamo.config.cache_size_limit)
    try:
        torch.compile(_doubled, backend=BACKEND)(torch.ones(2, device=device))
    except RuntimeError as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())
        raise InputError(f"encoder_compile: torch.compile does not work here ({reason}); leave it out, or install what it needs: a C++ "
                         "compiler for a CPU, Triton for a GPU") from error  # fmt: skip
    for block in encoder.layers():
        block.compile(backend=BACKEND)


@contextmanager
def uncompiled(encoder: ItemEncoder) -> Iterator[None]:
    """A context in which compiled blocks run as they are written. A probe would have each of them compiled, for itself alone."""
    compiled = {module: module._compiled_call_impl for module in encoder.modules() if module._compiled_call_impl is not None}
    for module in compiled:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in compiled.items():
            module._compiled_call_impl = call


def _doubled(x: Tensor) -> Tensor:
    return x + x
