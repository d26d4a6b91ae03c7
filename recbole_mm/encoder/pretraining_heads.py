"""The heads of image-text matching and masked language modelling, which only fine-tuning uses."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from recbole_mm.encoder.seeding import seeded

INIT_STD = 0.02


class PretrainingHeads(NamedTuple):
    """Two heads beside an encoder: they are in neither its state dict nor its fingerprint.

    Attributes:
        match: joint rows (n, d) -> (n, 2) logits, (no match, match).
        words: text tokens of the joint pass (..., d) -> (..., vocabulary) logits.
        drawn: which of them ("match", "words") have random weights, because the encoder's file has none for them.
    """

    match: nn.Module
    words: nn.Module
    drawn: frozenset[str] = frozenset()


def drawn(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A new head: normal weights with a standard deviation of 0.02, and biases of zero. The global random state stays as it is."""
    with seeded(seed):
        head = make()
        for module in head.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return head
