"""The feed-forward parts of an encoder's blocks, found by what the blocks call."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.probe import called_modules


class FeedForward(NamedTuple):
    """Names of the first and of the last linear map of a feed-forward part: it is what lies between the input of the one and the output
    of the other."""

    first: str
    last: str


def feed_forwards(encoder: ItemEncoder) -> dict[str, list[FeedForward]]:
    """``{name of a block: its feed-forward parts}`` for all blocks that some modality passes through; where each modality has an expert of
    its own, every expert is such a part. A block without linear maps (a convolutional one) has none.

    A feed-forward part widens its input by one linear map, or by two of which one is a gate, and narrows it again by the next that is
    called. In attention, maps of another shape or more of them stand before the last one, or nothing is widened.
    """
    names = {module: name for name, module in encoder.named_modules()}
    owner = {module: names[block] for block in encoder.layers() for module in block.modules()}
    found: dict[str, dict[FeedForward, None]] = {names[block]: {} for block in encoder.layers()}
    passed = set()
    for modality in encoder.modalities:
        called = called_modules(encoder, modality, owner)
        passed |= {owner[module] for module in called}
        linear = [module for module in called if isinstance(module, nn.Linear)]
        for place, last in enumerate(linear):
            first = _first(linear[:place], last)
            if first is not None and owner[first] == owner[last]:
                found[owner[last]][FeedForward(names[first], names[last])] = None
    return {block: list(parts) for block, parts in found.items() if block in passed}


def _first(before: Sequence[nn.Linear], last: nn.Linear) -> nn.Linear | None:
    """The map that begins the feed-forward part that ``last`` may end; None if it ends none."""
    widths = (last.in_features, 2 * last.in_features)
    run = 0
    while run < len(before) and before[-1 - run].in_features == last.out_features and before[-1 - run].out_features in widths:
        run += 1
    return before[-run] if last.in_features > last.out_features and run in (1, 2) else None
