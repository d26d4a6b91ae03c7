"""What models are asked to find out what they know of the forgotten."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_mm.data.stored_split import PARTS
from recbole_mm.serving.histories import Histories
from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.request import Forgotten, all_pairs

AT_MOST = 512
"""Of how many users or items a group of questions is at most."""


@dataclass(frozen=True, eq=False)
class Questions:
    """Which items of a user does a model rank high? Of an item, read "user" as "item" throughout, and the other way round.

    Attributes:
        ids: of the users, int64 (n,).
        known: of each user the items that are no answer; where ``strangers``, also all that the model is told of the user.
        sought: of each user the items that should be ranked high, by a model that has learned them.
        unseen: by part, of each user the items that no model has learned.
        strangers: whether users are asked for by ``known`` instead of by what the model has of them.
    """

    ids: Tensor
    known: Sequence[Tensor]
    sought: Sequence[Tensor]
    unseen: Mapping[str, Sequence[Tensor]]
    strangers: bool

    def __len__(self) -> int:
        return len(self.ids)


class Side:
    """The users' side of a run, or the items' side, where items take the place of users.

    Args:
        run: over what stays.
        forgotten: of that run.
        of_items: whether it is the items' side.

    Attributes:
        pairs: of the interactions that stay, by part: int64 (n, 2), first whose side it is, in the order of time where there is one. Cold
            items have none in training.
        shape: how many there are on this side and on the other one, padding included.
        hidden: the ids of the other side that go, which are in no ranking.
        histories: of this side, over the training interactions that stay.
        staying: questions about the validation items of those who stay.
        asked: pairs of questions: about the forgotten, and about those who stay, of whom the validation part is sought. First those of who
            goes, as strangers, then those of users who stay.
    """

    def __init__(self, run: KeptRun, forgotten: Forgotten, of_items: bool) -> None:
        turned = [1, 0] if of_items else [0, 1]
        self.of_items, self._draws = of_items, torch.Generator().manual_seed(run.config["seed"])
        self.pairs = {part: pairs[:, turned] for part, pairs in _pairs(run.dataset).items()}
        sizes = run.dataset.user_num, run.dataset.item_num
        self.shape = sizes[turned[0]], sizes[turned[1]]
        gone, self.hidden = (forgotten.items, forgotten.users) if of_items else (forgotten.users, forgotten.items)
        self.histories = Histories(*self.pairs["training"].T, self.shape[0])
        learned = self._rankable(forgotten.learned[:, turned])
        self._unseen = {part: self._rankable(torch.cat([self.pairs[part], forgotten.pairs_of(part)[:, turned]])) for part in PARTS[1:]}
        if run.refitted:
            self._unseen = {part: pairs[:0] for part, pairs in self._unseen.items()}
        goes = torch.isin(learned[:, 0], gone)
        self.staying = self._questions(self.pairs["training"], self.pairs["valid"], {}, strangers=False)
        self.asked = list(self._asked(learned[goes], learned[~goes]))

    def _asked(self, goes: Tensor, stays: Tensor) -> Iterator[tuple[Questions, Questions]]:
        kept, valid = self.pairs["training"], self.pairs["valid"]
        told, sought = halves(goes, self._draws)
        strangers = self._questions(told, sought, self._unseen, strangers=True)
        if len(strangers):
            yield strangers, self._questions(halves(kept, self._draws)[0], valid, {}, strangers=True)
        others = self._questions(kept, stays, self._unseen, strangers=False)
        if len(others) and not self.of_items:
            yield others, self.staying

    def _rankable(self, pairs: Tensor) -> Tensor:
        return pairs[~torch.isin(pairs[:, 1], self.hidden)]

    def _questions(self, known: Tensor, sought: Tensor, unseen: Mapping[str, Tensor], strangers: bool) -> Questions:
        ids = sought[:, 0].unique()
        ids = ids[torch.isin(ids, known[:, 0])]
        if len(ids) > AT_MOST:
            ids = ids[torch.randperm(len(ids), generator=self._draws)[:AT_MOST]].sort().values
        return Questions(ids, lists(known, ids), lists(sought, ids), {part: lists(pairs, ids) for part, pairs in unseen.items()}, strangers)


def halves(pairs: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distinct pairs (user, item) in two random halves of each user's, the first one the larger, in the order that they have; of users with
    one pair in neither."""
    found, first = _distinct(pairs)
    drawn = torch.randperm(len(found), generator=draws)
    drawn = drawn[found[drawn, 0].argsort(stable=True)]
    counts = torch.bincount(found[:, 0], minlength=1)
    second = torch.empty(len(found), dtype=torch.bool)
    second[drawn] = (torch.arange(len(found)) - (counts.cumsum(0) - counts)[found[drawn, 0]]) % 2 == 1
    several, order = counts[found[:, 0]] > 1, first.argsort()
    return tuple(found[order[(several & half)[order]]] for half in (~second, second))


def lists(pairs: Tensor, ids: Tensor) -> list[Tensor]:
    """The items of each of some users (n,), which are in ascending order, in pairs (user, item); each item once, in the order of
    the pairs."""
    found, first = _distinct(pairs[torch.isin(pairs[:, 0], ids)])
    pairs = found[first.argsort()]
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    counts = torch.bincount(torch.searchsorted(ids, pairs[:, 0].contiguous()), minlength=len(ids))
    return list(pairs[:, 1].split(counts.tolist()))


def _distinct(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct pairs, in ascending order, and where each stands first."""
    found, places = torch.unique(pairs, dim=0, return_inverse=True)
    return found, torch.full((len(found),), len(pairs)).scatter_reduce(0, places, torch.arange(len(pairs)), "amin")


def _pairs(dataset) -> dict[str, Tensor]:
    users, items = all_pairs(dataset)
    pairs, places, cold = torch.stack([users, items], 1), dataset.stored_parts(users, items), torch.isin(items, dataset.cold_items)
    parts = {part: places == number for number, part in enumerate(PARTS)}
    return {part: pairs[own & ~cold if part == "training" else own] for part, own in parts.items()}
