"""Which parts of a network the rows of a modality depend on, read off the graph that autograd builds for one item."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from recbole_mm.encoder.hooks import hooked


@dataclass
class Trace:
    """Names of parameters and modules, in the order of the traced module.

    Attributes:
        parameters: the parameters that the rows depend on, and which can therefore get a gradient.
        blocks: the members, in order, of the stack that holds most of those parameters, without members that hold none or are never
            called; empty if there is none.
        head: the parameters that come after the last block: final norms, poolers, projections.
    """

    parameters: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)


def trace(
    module: nn.Module, run: Callable[[], Tensor], among: Container[nn.Module] | None = None, blocks_in: str = ""
) -> Trace:  # fmt: skip
    """Trace the rows that ``run()`` computes with ``module`` (whose parameters must require gradients).

    Stacks are the outermost nn.ModuleList and nn.Sequential of ``module``, because a list inside a block is part of the block, and
    siblings that are numbered (a ResNet's layer1, layer2, ...).

    Args:
        among: the modules that may be blocks; None for all.
        blocks_in: the name of the submodule whose stacks are looked at, where that is not all of ``module``.
    """
    stacks = list(_stacks(module.get_submodule(blocks_in), blocks_in and f"{blocks_in}."))
    outputs: dict[nn.Module, list[Tensor]] = {}

    def note(part: nn.Module, _: tuple, output: object) -> None:
        outputs[part] = list(_tensors(output))

    with torch.enable_grad(), hooked({part for members in stacks for part in members.values()}, note):
        rows = run()
    reached = parameters_behind([rows])
    called = [part for part in outputs if among is None or part in among]
    sizes = {part: sum(p.numel() for p in set(part.parameters()) & reached) for part in called}
    stacks = [{name: part for name, part in members.items() if sizes.get(part)} for members in stacks]
    blocks = max(stacks, key=lambda members: sum(sizes[part] for part in members.values()), default={})
    inside = {parameter for block in blocks.values() for parameter in block.parameters()}
    last = next((outputs[part] for part in reversed(blocks.values())), [])
    after = parameters_behind([rows], stop=last) - inside
    names = dict(module.named_parameters())
    return Trace([n for n, p in names.items() if p in reached], list(blocks), [n for n, p in names.items() if p in after])


def parameters_behind(rows: Iterable[Tensor], stop: Iterable[Tensor] = ()) -> set[Tensor]:
    """The leaf tensors that ``rows`` depend on, other than by way of the tensors ``stop``."""
    seen = {tensor.grad_fn for tensor in stop}
    found, waiting = set(), [tensor.grad_fn for tensor in rows]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "AccumulateGrad":
            found.add(node.variable)
        waiting += [after for after, _ in node.next_functions]
    return found


def _stacks(module: nn.Module, prefix: str = "") -> Iterable[dict[str, nn.Module]]:
    """The members of each stack by name."""
    numbered: dict[str, dict[str, nn.Module]] = defaultdict(dict)
    for name, part in module.named_children():
        if name[-1].isdigit():
            numbered[name.rstrip("0123456789")] |= (
                _members(part, prefix + name) if isinstance(part, nn.ModuleList) else {prefix + name: part}
            )
        if isinstance(part, nn.ModuleList | nn.Sequential):
            yield _members(part, prefix + name)
        else:
            yield from _stacks(part, f"{prefix}{name}.")
    yield from (members for members in numbered.values() if len(members) > 1)


def _members(part: nn.Module, name: str) -> dict[str, nn.Module]:
    """The members of a list by name; of a list of lists, the members of the inner lists."""
    found = {}
    for key, member in part.named_children():
        found |= _members(member, f"{name}.{key}") if isinstance(member, nn.ModuleList) else {f"{name}.{key}": member}
    return found


def _tensors(output: object) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for value in output.values() if isinstance(output, dict) else output:
            yield from _tensors(value)
