"""How much a loss hangs on the parts of an encoder, to first order: |dL/dw * w| (Wang et al., arXiv 2312.05795)."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.tuning.feed_forward import hidden_units

Batch = TypeVar("Batch")


class Importance(NamedTuple):
    """What is lost, to first order, where weights become zero: |dL/dw * w|, summed over the weights of a part and over batches.

    Attributes:
        blocks: name of a block -> its importance.
        units: name of the last map of a feed-forward part -> the importance of each of its hidden units, (width,).
    """

    blocks: dict[str, float]
    units: dict[str, Tensor]


def importance_of(encoder: ItemEncoder, batches: Iterable[Batch], loss: Callable[[ItemEncoder, Batch], Tensor]) -> Importance:
    """The importance of each block, and of each hidden unit of its feed-forward parts. The encoder stays as it is.

    Args:
        batches: of contents, as ``loss`` takes them.
        loss: (encoder, batch) -> a number with its graph. A distance from the encoder's own rows has no gradient and ranks nothing;
            contrast between items has one.
    """
    names = {module: name for name, module in encoder.named_modules()}
    blocks = {names[block]: list(block.parameters()) for block in encoder.layers()}
    parts = [part for found in hidden_units(encoder).values() for part in found]
    of_units = [parameter for part in parts for name in (*part.inside, part.last) for parameter in encoder.get_submodule(name).parameters()]
    parameters = list(dict.fromkeys([*(parameter for inside in blocks.values() for parameter in inside), *of_units]))
    trained, training = [parameter.requires_grad for parameter in parameters], encoder.training
    total = {parameter: torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters}
    try:
        encoder.eval()
        for parameter in parameters:
            parameter.requires_grad_(True)
        for batch in batches:
            gradients = torch.autograd.grad(loss(encoder, batch), parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    total[parameter] += (gradient.float() * parameter.detach().float()).abs()
    finally:
        for parameter, before in zip(parameters, trained, strict=True):
            parameter.requires_grad_(before)
        encoder.train(training)
    units = {}
    for part in parts:
        own = [total[parameter] for name in part.inside for parameter in encoder.get_submodule(name).parameters(recurse=False)]
        units[part.last] = total[encoder.get_submodule(part.last).weight].sum(0) + sum(_by_unit(each, part.width) for each in own)
    return Importance({name: sum(total[parameter].double().sum().item() for parameter in inside) for name, inside in blocks.items()}, units)


def _by_unit(total: Tensor, width: int) -> Tensor:
    """Sums over everything that belongs to the same of ``width`` units: (width,)."""
    return total.unflatten(0, (-1, width)).flatten(2).sum((0, 2)) if total.dim() > 1 else total.view(-1, width).sum(0)
