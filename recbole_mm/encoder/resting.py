"""Which modules of a network that trains have nothing to train, so that nothing in them may be random."""

from collections.abc import Iterable

from torch import nn

from recbole_mm.encoder.network import FeatureNetwork


def resting_modules(network: FeatureNetwork) -> set[nn.Module]:
    """The modules that stay in eval mode, and so without dropout, while ``network`` trains.

    They are the blocks without a parameter that trains, where low-rank updates and adapters count as parts of their block; and, if none of
    the parameters below the blocks trains, everything outside of the blocks that holds no trainable part itself. Batch norms always keep
    their running statistics: items come in chunks, and a row must not depend on the other items of its chunk.
    """
    adapted = {network.get_submodule(adapter.site) for adapter in network.adapters}
    blocks = [block for tower in network.towers() for block in tower]
    inside = _modules(blocks)
    still = _modules(block for block in blocks if not (_trains(block) or adapted & set(block.modules())))
    if not _trains_below(network, inside):
        at_work = inside - still
        still |= {m for m in set(network.modules()) - inside if not (_trains(m) or at_work & set(m.modules()))}
    norms = {m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    return norms | {m for m in still if not (isinstance(m, nn.MultiheadAttention) and not m.dropout)}


def _modules(parts: Iterable[nn.Module]) -> set[nn.Module]:
    return {module for part in parts for module in part.modules()}


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _trains_below(network: FeatureNetwork, inside: set[nn.Module]) -> bool:
    """Whether any parameter trains between the inputs and the blocks, whose modules are ``inside``; True if there is no parameter there.
    Those of one number (temperatures) belong to the head."""
    elsewhere = {parameter for module in (*inside, *network.adapters) for parameter in module.parameters()}
    head = set(network.head())
    below = [p for name, p in network.named_parameters() if p not in elsewhere and name not in head and p.numel() > 1]
    return not below or any(p.requires_grad for p in below)
