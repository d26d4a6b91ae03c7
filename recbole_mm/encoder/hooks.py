"""Watching what the modules of an encoder give while it runs."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from recbole_mm.errors import InputError

Hook = Callable[[nn.Module, tuple, object], object]
"""(module, its arguments, its output) -> the output to go on with; None leaves it as it is."""


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Hook) -> Iterator[None]:
    """Inside the block, ``hook`` is called after each of the modules."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hidden_of(output: object) -> Tensor:
    """The hidden states in what a block gives: the output itself, or the first of several. Raises InputError: there is no such tensor."""
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        raise InputError(
            f"the blocks of this encoder give a {type(hidden).__name__} of several tensors (as in HRNet and CrossViT), so it has no "
            "adapters, side network or cached hidden states; use encoder_tuning: lora, or last_k with cache_hidden_states: False"
        )
    return hidden


def with_hidden(output: object, hidden: Tensor) -> object:
    """A block's output with other hidden states in the same place."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden
