"""An encoder without some of its parts, which are still there: what pruning them would give."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.hooks import hooked, with_hidden
from recbole_mm.encoder.shrink import HiddenUnits, Kept, narrow


@contextmanager
def skipping(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside the block of code, these blocks of an encoder give what they are given."""

    def pass_on(block: nn.Module, inputs: tuple, named: dict, output: object) -> object:
        return with_hidden(output, inputs[0] if inputs else named["hidden_states"])

    handles = [block.register_forward_hook(pass_on, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def without(encoder: ItemEncoder, kept: Sequence[Kept]) -> Iterator[None]:
    """Inside the block of code, the encoder computes with what is kept of its towers alone: other blocks are skipped, and the outputs of
    other hidden units are zero, of which norms know nothing."""
    with ExitStack() as stack:
        for tower, stays in zip(encoder.towers(), kept, strict=True):
            stack.enter_context(skipping(block for i, block in enumerate(tower) if i not in stays.blocks))
            for part, units in stays.units:
                stack.enter_context(_silent(encoder, part, units))
        yield


@contextmanager
def _silent(encoder: ItemEncoder, part: HiddenUnits, units: Tensor) -> Iterator[None]:
    def silence(_: nn.Module, inputs: tuple) -> Tensor:
        return _scattered(inputs[0][..., units], inputs[0], units)

    last = encoder.get_submodule(part.last)
    with ExitStack() as stack:
        for norm in (module for module in map(encoder.get_submodule, part.inside) if not isinstance(module, nn.Linear)):
            smaller = copy.deepcopy(norm)
            narrow(encoder.name, smaller, part.width, units)
            stack.enter_context(
                hooked([norm], lambda _, inputs, output, own=smaller: _scattered(own(inputs[0][..., units]), output, units))
            )
        handle = last.register_forward_pre_hook(silence)
        stack.callback(handle.remove)
        yield


def _scattered(values: Tensor, like: Tensor, units: Tensor) -> Tensor:
    """Zeros as ``like`` with ``values`` at ``units`` of the last dimension."""
    return torch.zeros_like(like).index_copy_(-1, units.to(like.device), values)
