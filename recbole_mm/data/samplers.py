"""RecBole's sampler of negatives without a set per user: what a user has is looked up when somebody asks for it."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import recbole.data.utils as recbole_data
import torch
from recbole.sampler import Sampler
from torch import Tensor

PHASES = ("train", "valid", "test")


class UsedItems:
    """The items of every user in some interactions. Indexed by a user, it gives their set; by several users, an array of sets.

    Args:
        pairs: users and items of the interactions, int64 (n,) each, in several pieces.
        n_users, n_items: how many there are, with the padding.
    """

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]], n_users: int, n_items: int) -> None:
        self._given, self.n_users, self.n_items = pairs, n_users, n_items

    @cached_property
    def pairs(self) -> Tensor:
        """``user * n_items + item`` of every distinct pair, int64 (m,) in ascending order."""
        codes = np.concatenate([(users * self.n_items + items).numpy() for users, items in self._given])
        codes.sort()
        return torch.from_numpy(codes[np.diff(codes, prepend=-1) > 0])

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.searchsorted(self.pairs.numpy(), np.arange(self.n_users + 1) * self.n_items)

    def __len__(self) -> int:
        return self.n_users

    @cached_property
    def _sets(self) -> np.ndarray:
        return np.full(self.n_users, None)

    def __getitem__(self, users: int | np.ndarray) -> set[int] | np.ndarray:
        for user in np.atleast_1d(users).tolist():
            if self._sets[user] is None:
                start, end = self._starts[user : user + 2].tolist()
                self._sets[user] = set((self.pairs[start:end] - user * self.n_items).tolist())
        return self._sets[users]


class QuickSampler(Sampler):
    """RecBole's Sampler. ``used_ids`` are ``UsedItems``, and the table of a draw by popularity is made for the first draw."""

    def get_used_ids(self) -> dict[str, UsedItems]:
        """The items of every user by phase; those of a phase include those of the phases before."""
        pairs = [(part.inter_feat[self.uid_field], part.inter_feat[self.iid_field]) for part in self.datasets]
        used = {phase: UsedItems(pairs[: place + 1], self.user_num, self.item_num) for place, phase in enumerate(self.phases)}
        rows = sum(torch.bincount(users, minlength=self.user_num) for users, _ in pairs)
        if (rows >= self.item_num - 1).any():  # which may have repeated pairs
            every = used[self.phases[-1]].pairs // self.item_num
            if (torch.bincount(every) >= self.item_num - 1).any():
                return super().get_used_ids()  # which says what to do
        return used

    def _build_alias_table(self) -> None:
        self.prob = None

    def _pop_sampling(self, sample_num: int) -> np.ndarray:
        if self.prob is None:
            super()._build_alias_table()
        return super()._pop_sampling(sample_num)


def create_samplers(config, dataset, parts: Sequence) -> tuple[Sampler | None, ...]:
    """The samplers of the training, validation and test part, as RecBole's function of this name makes them."""
    if config["repeatable"] or not config["fast_loop"]:
        return recbole_data.create_samplers(config, dataset, parts)
    chosen = {phase: config[f"{phase}_neg_sample_args"] for phase in PHASES}
    alpha = chosen["train"]["alpha"] if chosen["train"]["distribution"] != "none" else 1.0
    whole = QuickSampler(list(PHASES), list(parts), "uniform", alpha)
    samplers = []
    for phase, arguments in chosen.items():
        sampler = whole.set_phase(phase) if arguments["distribution"] != "none" else None
        if sampler is not None:
            sampler.set_distribution(arguments["distribution"])
        samplers.append(sampler)
    return tuple(samplers)
