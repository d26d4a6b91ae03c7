"""Histories: what some users did, in order; NextItems: what a model learns to say of them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SHORT = 8


@dataclass(frozen=True)
class Histories:
    """The histories of some users, the earliest item first.

    Attributes:
        items: (b, l) int64, with zeros behind each history.
        lengths: (b,), of the histories, each at least 1.
        times: of the items, (b, l); None where they are not known.
    """

    items: Tensor
    lengths: Tensor
    times: Tensor | None = None

    @cached_property
    def present(self) -> Tensor:
        """Where there is an item: bool (b, l)."""
        return torch.arange(self.items.shape[1], device=self.items.device) < self.lengths.unsqueeze(1)

    def last(self, states: Tensor) -> Tensor:
        """Of states (b, l, d), those at the end of each history: (b, d)."""
        return states[torch.arange(len(states), device=states.device), self.lengths - 1]

    def of(self, places: Tensor) -> "Histories":
        """Some of them, by their places (n,), no wider than the longest."""
        lengths = self.lengths[places]
        longest = int(lengths.max())
        times = None if self.times is None else self.times[places, :longest]
        return Histories(self.items[places, :longest], lengths, times)

    def by_length(self) -> list[Tensor]:
        """The places (n,) of histories that are about as long as each other: up to 8, 16, 32, ... items."""
        sizes = self.lengths.clamp_min(SHORT).sub(1).log2().floor()
        return [(sizes == size).nonzero().flatten() for size in sizes.unique()]


@dataclass(frozen=True)
class NextItems:
    """What comes next at some steps of histories.

    Attributes:
        users: (b,), whose histories they are.
        rows, steps: (m,), the history and the place in it of each step.
        targets: (m,), the item that comes after it.
        negatives: of each history (b, n); None without.
    """

    histories: Histories
    users: Tensor
    rows: Tensor
    steps: Tensor
    targets: Tensor
    negatives: Tensor | None = None
