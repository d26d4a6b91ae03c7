"""How an encoder's parameters are optimised: parameter groups with their own learning rates, and the schedule of those rates."""

import math
from collections import defaultdict
from collections.abc import Callable

from torch.nn import Parameter

from recbole_mm.encoder.network import FeatureNetwork
from recbole_mm.encoder.tuning.tunings import Side, tuning_class

AUTO_LEARNING_RATE = {"scratch": 1e-3, "side": 3e-4, "few": 1e-4, "all": 1e-5}


def auto_learning_rate(encoder: FeatureNetwork, tuning: str) -> float:
    """Depends on what trains: random weights, a network beside pretrained ones, a few new (or bias) parameters inside of them, or the
    pretrained weights themselves.

    ``tuning``: the value of ``encoder_tuning``.
    """
    if encoder.from_scratch:
        return AUTO_LEARNING_RATE["scratch"]
    return AUTO_LEARNING_RATE["side" if tuning == Side.name else "few" if tuning_class(tuning).few else "all"]


def parameter_groups(encoder: FeatureNetwork, learning_rate: float, weight_decay: float, layer_decay: float = 1.0) -> list[dict]:
    """The encoder's trainable parameters as an optimiser's groups, one group per learning rate and weight decay.

    Norms, biases and other vectors have no weight decay. The head has ``learning_rate``; every block's rate is ``layer_decay`` times
    that of the block above it, and the rate of a tower's embeddings is ``layer_decay`` times that of its first block (layer-wise decay:
    Clark et al., arXiv 2003.10555; in vision: Bao et al., arXiv 2106.08254). An adapter counts as part of its block, a scalar (a
    temperature) as part of the head. Scalars have groups of their own, because they stay whole when everything else is sharded.

    Returns:
        Dictionaries with ``params``, ``lr``, ``weight_decay`` and ``peak_lr`` (equal to ``lr``; a schedule multiplies it).
    """
    depths = _depths(encoder)
    members: dict[tuple[float, float, bool], list[Parameter]] = defaultdict(list)
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            rate = learning_rate * layer_decay ** depths[name]
            decay = weight_decay if parameter.ndim > 1 and "bias" not in name else 0.0
            members[rate, decay, parameter.numel() > 1].append(parameter)
    groups = sorted(members.items(), key=lambda item: item[0], reverse=True)
    return [{"params": params, "lr": rate, "weight_decay": decay, "peak_lr": rate} for (rate, decay, _), params in groups]


def schedule_factor(step: int, warmup_steps: int, total_steps: int | None = None, kind: str = "constant") -> float:
    """The factor on a peak rate at optimiser step 1, 2, ...: it grows linearly from 1 / ``warmup_steps`` to 1, then stays there, or falls
    along half a cosine to 0 at ``total_steps`` (Loshchilov & Hutter, arXiv 1608.03983)."""
    if step < warmup_steps:
        return step / warmup_steps
    if kind == "constant" or total_steps is None:
        return 1.0
    done = (step - max(1, warmup_steps)) / max(1, total_steps - max(1, warmup_steps))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _depths(encoder: FeatureNetwork) -> dict[str, int]:
    """How many layers lie above each parameter: 0 for the head, 1 for a tower's last block, and so on down to the tower's embeddings."""
    towers = encoder.towers()
    above = {id(p): len(tower) - place for tower in towers for place, block in enumerate(tower) for p in block.parameters()}
    depth_of = {module: len(tower) - place for tower in towers for place, block in enumerate(tower) for module in block.modules()}
    for adapter in encoder.adapters:
        above |= {id(p): depth_of[encoder.get_submodule(adapter.site)] for p in adapter.parameters()}
    head, towers_of = set(encoder.head()), _towers_of(encoder, set(above))

    def depth(name: str, parameter: Parameter) -> int:
        if name in head or parameter.numel() == 1:
            return 0
        return above.get(id(parameter)) or 1 + max(len(towers[t]) for t in towers_of(name))

    return {name: depth(name, parameter) for name, parameter in encoder.named_parameters()}


def _towers_of(encoder: FeatureNetwork, inside: set[int]) -> Callable[[str], list[int]]:
    """Which towers a parameter outside of the blocks belongs to: the tower whose surrounding module also holds the parameter. Failing
    that, the towers whose surrounding modules hold no such parameter (the text tower of open_clip's models), or else all towers."""
    names = {module: name.split(".") for name, module in encoder.named_modules()}
    blocks = [[names[block] for block in tower] for tower in encoder.towers()]
    around = [_around(own, [name for others in blocks if others is not own for name in others]) for own in blocks]
    outside = [name.split(".") for name, p in encoder.named_parameters() if id(p) not in inside]
    bare = [t for t, room in enumerate(around) if not any(name[: len(room)] == room for name in outside)]

    def towers_of(name: str) -> list[int]:
        parts = name.split(".")
        return [t for t, room in enumerate(around) if parts[: len(room)] == room] or bare or list(range(len(blocks)))

    return towers_of


def _around(own: list[list[str]], others: list[list[str]]) -> list[str]:
    """The name of the largest module that holds a tower's blocks and no other tower's."""
    room = list(own[0])
    while room and not any(name[: len(room) - 1] == room[:-1] for name in others):
        room.pop()
    while not all(name[: len(room)] == room for name in own):
        room.pop()
    return room
