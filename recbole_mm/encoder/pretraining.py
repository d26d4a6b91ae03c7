"""The heads of image-text matching and masked language modelling, which an encoder of items has no use for and fine-tuning does."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from recbole_mm.encoder.seeding import seeded

INIT_STD = 0.02


class PretrainingHeads(NamedTuple):
    """Two heads that belong to an encoder and are no part of it: neither in its state nor in its fingerprint.

    Attributes:
        match: joint rows (n, d) -> (n, 2) logits, (no match, match).
        words: text tokens of the joint pass (..., d) -> (..., vocabulary) logits.
        drawn: the names of those whose weights are random, because the encoder's file has none.
    """

    match: nn.Module
    words: nn.Module
    drawn: frozenset[str] = frozenset()


def drawn(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A new head, its weights normal with a standard deviation of 0.02 and its biases zero; the global random state stays as it is."""
    with seeded(seed):
        head = make()
        for module in head.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return head
