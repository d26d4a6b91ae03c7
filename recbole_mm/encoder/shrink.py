"""Takes blocks and hidden units out of an encoder, in place."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_mm.encoder.network import FeatureNetwork
from recbole_mm.errors import InputError, listed


class HiddenUnits(NamedTuple):
    """The hidden units of a feed-forward part.

    Attributes:
        inside: names of the modules that have parameters for each unit, in the order in which they are called: the map that widens (and
            the gate), and a norm where there is one.
        last: the name of the map that narrows again.
        width: the number of units.
        dim: the width of what goes in and comes out.
    """

    inside: tuple[str, ...]
    last: str
    width: int
    dim: int


class Kept(NamedTuple):
    """What stays of a tower.

    Attributes:
        blocks: their numbers, in order.
        units: of each feed-forward part of these blocks, which of its units stay, int64 (k,), in order; empty where all of them do.
    """

    blocks: list[int]
    units: list[tuple[HiddenUnits, Tensor]]

    @property
    def width(self) -> int | None:
        """How many hidden units each part has afterwards; None where all of them stay."""
        return len(self.units[0][1]) if self.units else None

    @property
    def ratio(self) -> float | None:
        """``width`` as a multiple of the width of the tower; None where all units stay."""
        return width_ratio(self.width, self.units[0][0].dim) if self.units else None


def require_alike(network: FeatureNetwork) -> None:
    """Raises InputError: the blocks of a tower are not all of the same shape, so a smaller number does not say which of them are left."""
    for tower in network.towers():
        shapes = [{name: tuple(tensor.shape) for name, tensor in block.state_dict().items()} for block in tower]
        unlike = next((i for i, shape in enumerate(shapes) if shape != shapes[-1]), None)
        if unlike is not None:
            kinds = [f"{type(tower[i]).__name__} {i}" for i in (unlike, len(tower) - 1)]
            raise InputError(
                f"{network.name} cannot be pruned: its blocks are of several shapes ({' is unlike '.join(kinds)}), as where stages "
                "change the width or the first block does more; take a plain transformer, or name a small encoder with --student"
            )


def take_out(network: FeatureNetwork, kept: Sequence[Kept]) -> None:
    """Removes the other blocks and hidden units of each tower.

    Raises:
        InputError: the blocks of a tower are not the members of one list, or a hidden unit has parameters that cannot be taken out.
    """
    names = {module: name for name, module in network.named_modules()}
    for tower, stays in zip(network.towers(), kept, strict=True):
        for part, units in stays.units:
            for name in part.inside:
                narrow(network.name, network.get_submodule(name), part.width, units)
            _narrow_input(network.get_submodule(part.last), units)
        parents = {names[block].rpartition(".")[0] for block in tower}
        stack = network.get_submodule(parents.pop())
        if parents or not isinstance(stack, nn.ModuleList | nn.Sequential) or list(stack) != tower:
            raise InputError(f"{network.name} cannot be pruned: its blocks are not the members of one list")
        for i in reversed(range(len(tower))):
            if i not in stays.blocks:
                del stack[i]
        for i, block in enumerate(stack):
            for module in block.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = i


def narrow(label: str, module: nn.Module, width: int, units: Tensor) -> None:
    """Leaves a module with parameters for some of ``width`` hidden units alone; it may have several parameters for each, one after the
    other.

    Raises:
        InputError: it is neither a linear map nor a norm.
    """
    for name, parameter in list(module.named_parameters(recurse=False)):
        if not isinstance(module, nn.Linear) and parameter.dim() > 1 or len(parameter) % width:
            raise InputError(f"{label} cannot be pruned: hidden units of its feed-forward parts pass through a {type(module).__name__}")
        rows = torch.cat([units + start for start in range(0, len(parameter), width)])
        _replace(module, name, parameter.detach()[rows])
    if isinstance(module, nn.Linear):
        module.out_features = len(module.weight)
    if hasattr(module, "normalized_shape"):
        module.normalized_shape = type(module.normalized_shape)([len(units)])


def width_ratio(width: int, dim: int) -> float:
    """The number that gives ``width`` when a configuration multiplies it by ``dim`` and rounds down."""
    ratio = width / dim
    return ratio if int(dim * ratio) == width else (width + 0.5) / dim


def require_words(label: str, key: str | None, what: str, known: Sequence[str]) -> str:
    """``key``, unless it is None.

    Raises:
        InputError: the configuration has no key for ``what``.
    """
    if key is None:
        raise InputError(f"{label} cannot be pruned: its configuration has no key for {what} ({listed(known)}); name a --student instead")
    return key


def _narrow_input(last: nn.Linear, units: Tensor) -> None:
    _replace(last, "weight", last.weight.detach()[:, units])
    last.in_features = len(units)


def _replace(module: nn.Module, name: str, value: Tensor) -> None:
    old = getattr(module, name)
    setattr(module, name, nn.Parameter(value.clone(), requires_grad=old.requires_grad))
