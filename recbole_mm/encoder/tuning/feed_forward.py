"""The feed-forward parts of an encoder's blocks, found by what the blocks call."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.probe import called_modules
from recbole_mm.encoder.shrink import HiddenUnits

OUTSIDE = ""
"""Stands for the name of a block where there is none."""


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
    found = hidden_units(encoder).items()
    return {block: [FeedForward(part.inside[0], part.last) for part in parts] for block, parts in found if block != OUTSIDE}


def hidden_units(encoder: ItemEncoder) -> dict[str, list[HiddenUnits]]:
    """``{name of a block: the hidden units of its feed-forward parts}``, as ``feed_forwards`` finds them, and those outside of all blocks
    (in SigLIP's pooling, for example) under ``OUTSIDE``."""
    names = {module: name for name, module in encoder.named_modules()}
    owner = dict.fromkeys(names, OUTSIDE) | {module: names[block] for block in encoder.layers() for module in block.modules()}
    found: dict[str, dict[str, HiddenUnits]] = {block: {} for block in [*(names[block] for block in encoder.layers()), OUTSIDE]}
    passed = set()
    for modality in encoder.modalities:
        called = called_modules(encoder, modality, owner)
        passed |= {owner[module] for module in called}
        places = [place for place, module in enumerate(called) if isinstance(module, nn.Linear)]
        for before, end in enumerate(places):
            run, last = _run(called, places[:before], called[end]), called[end]
            start = places[before - run]
            if run and owner[called[start]] == owner[last]:
                inside = [module for module in called[start:end] if next(module.parameters(recurse=False), None) is not None]
                part = HiddenUnits(tuple(names[module] for module in inside), names[last], last.in_features, last.out_features)
                found[owner[last]].setdefault(part.last, part)
    return {block: list(parts.values()) for block, parts in found.items() if block in passed}


def _run(called: Sequence[nn.Module], before: Sequence[int], last: nn.Linear) -> int:
    """How many of the linear maps before it, at the places ``before``, begin the feed-forward part that ``last`` ends: 1, or 2 with a
    gate; 0 if it ends none."""
    widths = (last.in_features, 2 * last.in_features)
    run = 0
    for first in (called[place] for place in reversed(before)):
        if first.in_features != last.out_features or first.out_features not in widths:
            break
        run += 1
    return run if last.in_features > last.out_features and run in (1, 2) else 0
