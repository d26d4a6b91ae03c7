"""NegativeSampler: negative items for many users at once, exactly by RecBole's distributions."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_mm.errors import InputError, listed

MIX = -7046029254386353131
"""An odd number that spreads pairs over a table (Knuth's multiplicative hashing)."""
BITS_PER_PAIR = 16


class NegativeSampler:
    """Draws items that a user does not have in training.

    An item is drawn by its weight, whoever the user is. If it turns out to be one of the user's, another is drawn among all that are not,
    in one step: the user's own weights are cut out of the line on which all weights lie one behind the other. So no user takes long, and
    none gets an item that is theirs. Weights are whole numbers, so that this is exact.

    Args:
        users, items: the interactions of training, int64 (n,) each.
        n_users: how many users there are, with the padding.
        weights: how likely each item is, int64 (number of items,). The padding's is 0, and the sum times ``n_users`` is below 2**63.
        names: each user's name, for messages.
        device: where the draws are made.

    Raises:
        InputError: a user of ``users`` has all items that have a weight.
    """

    def __init__(
        self, users: Tensor, items: Tensor, n_users: int, weights: Tensor, names: Sequence[str], device: torch.device | str = "cpu"
    ) -> None:
        self.n_items, self.total = len(weights), int(weights.sum())
        padding = torch.arange(n_users) * self.n_items  # every user has it, so that each has a first place on the line
        pairs = torch.unique(torch.cat([padding, users * self.n_items + items]))
        owners, owned = pairs // self.n_items, weights[pairs % self.n_items]
        before = owned.cumsum(0) - owned
        cut = before - before[torch.searchsorted(pairs, padding)][owners]  # what of the user's own lies before the item
        line = weights.cumsum(0)
        start = line[pairs % self.n_items] - owned
        room = self.total - torch.zeros(n_users, dtype=torch.int64).index_add_(0, owners, owned)
        full = torch.unique(users[room[users] == 0]).tolist()
        if full:
            raise InputError(f"{len(full)} users have every item that could be a negative ({listed([names[u] for u in full[:5]])}): filter "
                             "them out by user_inter_num_interval, or set negative_items: all")  # fmt: skip
        table = _table(pairs)
        held = (pairs, owners * (self.total + 1) + start - cut, cut + owned, room, line, torch.nonzero(weights).flatten(), table)
        self.pairs, self.places, self.cut, self.room, self.line, self.items, self.table = (part.to(device) for part in held)
        self.uniform = len(self.items) == self.total

    def draw(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """An item for each user: int64 (n,) on the sampler's device. The numbers come from a generator of the CPU, and are the same
        whatever the device."""
        device = users.device
        drawn = self._item_at(torch.randint(self.total, (len(users),), generator=generator).to(device))
        own = self._own(users, drawn)
        if len(own):
            owners = users[own]
            place = (torch.rand(len(own), dtype=torch.float64, generator=generator).to(device) * self.room[owners]).long()
            passed = torch.searchsorted(self.places, owners * (self.total + 1) + place, right=True) - 1
            drawn[own] = self._item_at(place + self.cut[passed])
        return drawn

    def _item_at(self, place: Tensor) -> Tensor:
        return self.items[place] if self.uniform else torch.searchsorted(self.line, place, right=True)

    def _own(self, users: Tensor, items: Tensor) -> Tensor:
        """At which places the item is one of the user's. The table tells almost all other places apart at once."""
        pairs = users * self.n_items + items
        bits = _hashed(pairs, len(self.table))
        suspects = (self.table[bits >> 3] >> (bits & 7).to(torch.uint8) & 1).nonzero().flatten()
        asked = pairs[suspects]
        found = self.pairs[torch.searchsorted(self.pairs, asked).clamp_(max=len(self.pairs) - 1)]
        return suspects[found == asked]


def uniform_weights(items: Tensor, n_items: int) -> Tensor:
    """Weights by which each of the ``items`` is equally likely."""
    return torch.zeros(n_items, dtype=torch.int64).index_fill_(0, items, 1)


def popularity_weights(items: Tensor, n_items: int, n_users: int, alpha: float) -> Tensor:
    """Weights by which an item is as likely as its number of interactions to the power of ``alpha``. ``items`` are those of the
    interactions, int64 (n,). The rounding to whole numbers is the finest that ``NegativeSampler`` takes."""
    counts = torch.bincount(items, minlength=n_items).double()
    shares = torch.where(counts > 0, counts**alpha, 0.0)
    whole = 2.0 ** (61 - int(n_users).bit_length())
    return torch.where(shares > 0, (shares / shares.sum() * whole).round().clamp(min=1), 0.0).long()


def _table(pairs: Tensor) -> Tensor:
    """A bit for each hash value, eight to a byte; those of the pairs are set."""
    size = 1 << int(len(pairs) * BITS_PER_PAIR - 1).bit_length()
    bits = np.zeros(size, dtype=bool)
    bits[_hashed(pairs, size >> 3).numpy()] = True
    return torch.from_numpy(np.packbits(bits, bitorder="little"))


def _hashed(pairs: Tensor, n_bytes: int) -> Tensor:
    bits = n_bytes.bit_length() + 2
    return (pairs * MIX >> (64 - bits)) & ((1 << bits) - 1)
