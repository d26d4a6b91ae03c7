"""What a model knows, carried over into one of fewer users and items: every row by its token."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from recbole_mm.errors import InputError
from recbole_mm.model.feature_model import FeatureModel

MORE = 2
"""How many rows a table may have behind those of its tokens: BERT4Rec's mask, for example."""
MISSING = "item_features.missing_vectors."
"""The vectors of items that lack a modality, which are not there where no item does."""


@dataclass(frozen=True)
class Kept:
    """The ids of one vocabulary that stay.

    Attributes:
        n: how many ids there are, with the padding.
        ids: those that stay, in ascending order, with the padding: int64 (m,).
    """

    n: int
    ids: Tensor

    @property
    def n_gone(self) -> int:
        return self.n - len(self.ids)

    def then(self, other: "Kept") -> "Kept":
        """The ids of two vocabularies one behind the other."""
        return Kept(self.n + other.n, torch.cat([self.ids, self.n + other.ids]))

    def longer(self, more: int) -> "Kept":
        """The ids with more behind them, which all stay."""
        return Kept(self.n + more, torch.cat([self.ids, self.n + torch.arange(more)]))


def carry_over(before: AbstractRecommender, now: AbstractRecommender, kept: Mapping[str, Kept], fields: tuple[str, str]) -> None:
    """Gives a model all that another one of the same settings has learned, less the rows of users, items and values that it lacks. What is
    made of the interactions (graphs, histories) stays as ``now`` has it.

    Args:
        before, now: over the full vocabulary and over what stays.
        kept: field -> its ids that stay. No two vocabularies of about the same size lose equally many (see ``alike``).
        fields: those of users and of items.

    Raises:
        InputError: a tensor's rows are of nobody that is known.
    """
    drawn = [name for module in now.modules() for name, value in vars(module).items() if isinstance(value, Tensor) and value.requires_grad]
    if drawn:
        raise InputError(f"{type(now).__name__} draws {drawn[0]}, which no checkpoint holds and other sizes change: train anew")
    changed, ours = list(_changed(before, kept, fields)), isinstance(now, FeatureModel)
    old, new = (model.trained_state() if ours else model.state_dict() for model in (before, now))
    carried = {}
    for name, value in new.items():
        if _holds_ids(value):
            continue
        if name not in old:
            raise InputError(f"{type(now).__name__} has {name} only without the forgotten: train anew without them")
        carried[name] = _rows(old[name], value, changed, f"{name} of {type(now).__name__}")
    lost = [name for name in old if name not in new and not name.startswith(MISSING)]
    if lost:
        raise InputError(f"{type(now).__name__} lacks {', '.join(lost)} without the forgotten: train anew without them")
    now.load_state_dict({**now.state_dict(), **carried})
    _carry_other(before, now, ours)
    if ours:
        now.remake_derived()


def alike(one: Kept, other: Kept) -> bool:
    """Whether the tables of two vocabularies cannot be told apart by how many rows they lose."""
    return one.n_gone == other.n_gone > 0 and abs(one.n - other.n) <= MORE


def _changed(model: AbstractRecommender, kept: Mapping[str, Kept], fields: tuple[str, str]) -> Iterator[Kept]:
    """The ids of the tables that a model may have, as far as they change: of one vocabulary; of users and then another one's; of several
    fields, one behind the other, as context-aware models have them."""
    found = [one.longer(more) for more in range(MORE + 1) for one in kept.values()]
    users = kept[fields[0]]
    found += [users.then(other) for field, other in kept.items() if field != fields[0]]
    for module in model.modules():
        named = getattr(module, "token_field_names", None) or ()
        for names in named.values() if isinstance(named, Mapping) else [named]:
            found += list(accumulate((kept[name] for name in names if name in kept), Kept.then))[1:]
    return (one for one in found if one.n_gone)


def _rows(old: Tensor, new: Tensor, changed: list[Kept], name: str) -> Tensor:
    """What of a tensor stays."""
    if old.dim() == new.dim():
        for dim, (before, now) in enumerate(zip(old.shape, new.shape, strict=True)):
            if before != now:
                fitting = next((kept for kept in changed if (kept.n, len(kept.ids)) == (before, now)), None)
                if fitting is None:
                    break
                old = old.index_select(dim, fitting.ids.to(old.device))
    if old.shape != new.shape:
        shapes = [" x ".join(map(str, tensor.shape)) for tensor in (old, new)]
        raise InputError(f"{name} is {shapes[0]}, and {shapes[1]} without the forgotten, and nothing says whose its rows are: train anew "
                         "without them")  # fmt: skip
    return old


def _holds_ids(value: Tensor) -> bool:
    return value.dim() > 0 and not value.is_floating_point() and not value.is_complex()


def _carry_other(before: AbstractRecommender, now: AbstractRecommender, ours: bool) -> None:
    """What models keep beside their state, where it has no rows of users or items."""
    own = dict(now.other_parameter())
    for name, value in before.other_parameter().items():
        same = isinstance(value, Tensor | np.ndarray) and getattr(own[name], "shape", None) == value.shape
        if ours or same:
            now.load_other_parameter({name: value})
