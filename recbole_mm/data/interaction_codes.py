"""Interactions as numbers: the same one for the same tokens of a user and an item, whatever their ids and the order of the rows."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_mm.data.tokens import item_tokens, user_tokens

USERS, ITEMS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
"""Odd factors, so that no user and item are mistaken for each other."""


def interaction_codes(dataset) -> Tensor:
    """A number for every row of a data set, int64 (n,) in ascending order."""
    return pair_codes(dataset, dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field])


def pair_codes(dataset, users: Tensor, items: Tensor) -> Tensor:
    """The same for pairs of a user and an item of a data set, by their ids (n,)."""
    return codes_in_order(dataset, users, items).sort().values


def codes_in_order(dataset, users: Tensor, items: Tensor) -> Tensor:
    """As ``pair_codes``, in the order of the pairs."""
    return _codes((_hashes(user_tokens(dataset)), users), (_hashes(item_tokens(dataset)), items))


def codes_of_tokens(users: pd.Series | pd.Categorical, items: pd.Series | pd.Categorical) -> Tensor:
    """As ``codes_in_order``, of pairs by their tokens, before there are ids."""
    sides = [pd.factorize(column) for column in (users, items)]
    return _codes(*((_hashes([str(token) for token in tokens]), places) for places, tokens in sides))


def new_and_gone(before: Tensor, now: Tensor) -> tuple[int, int]:
    """How many of the interactions ``now`` were not there ``before``, and the other way round."""
    counts, codes = torch.tensor([-1, 1]), torch.cat([before, now])
    more = _sums(codes, counts.repeat_interleave(torch.tensor([len(before), len(now)])))[1]
    return int(more.clamp_min(0).sum()), int((-more).clamp_min(0).sum())


def without(codes: Tensor, others: Tensor) -> Tensor:
    """What of ``codes`` is left where every one of ``others`` takes one like it away: int64 in ascending order."""
    taken = torch.tensor([1, -1]).repeat_interleave(torch.tensor([len(codes), len(others)]))
    distinct, left = _sums(torch.cat([codes, others]), taken)
    return distinct.repeat_interleave(left.clamp_min(0))


def _sums(codes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct codes, and the sum of the values of each."""
    distinct, places = torch.unique(codes, return_inverse=True)
    return distinct, torch.zeros(len(distinct), dtype=torch.int64).index_add_(0, places, values)


def _hashes(tokens: Sequence[str]) -> np.ndarray:
    return np.frombuffer(b"".join(blake2b(token.encode(), digest_size=8).digest() for token in tokens), dtype="<u8")


def _codes(users: tuple[np.ndarray, np.ndarray], items: tuple[np.ndarray, np.ndarray]) -> Tensor:
    (of_users, rows), (of_items, columns) = users, items
    codes = of_users[np.asarray(rows)] * USERS + of_items[np.asarray(columns)] * ITEMS
    return torch.from_numpy(codes.view(np.int64))
