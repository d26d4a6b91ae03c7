"""What a model still knows of the forgotten, beside what a model would that has never seen them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recbole_mm.data.stored_split import PARTS
from recbole_mm.evaluation.top import top_k
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.model_scores import ModelScores
from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.request import Forgotten

USERS_AT_MOST, USERS_AT_ONCE = 512, 256
SMALLEST = 1e-3
"""What stands for a recall, or a share of pairs, that is smaller."""


@dataclass(frozen=True, eq=False)
class Questions:
    """Which of a user's items does a model rank high?

    Attributes:
        users: int64 (n,).
        known: of each user the items that are no answer; where ``strangers``, also all that the model is told of the user.
        sought: of each user the items that should be ranked high, by a model that has learned them.
        unseen: of each user the items that no model has learned, in ``valid`` or ``test``.
        strangers: whether the users are asked for by ``known`` instead of by what the model has of them.
    """

    users: Tensor
    known: Sequence[Tensor]
    sought: Sequence[Tensor]
    unseen: Mapping[str, Sequence[Tensor]]
    strangers: bool

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Known:
    """What a model knows of the forgotten training interactions.

    Attributes:
        recall: the share of them among a user's best k items, as a mean over the users.
        expected: the recall that is to be expected of a model that has never seen them.
        told_apart: the share of pairs of a forgotten interaction and a never-seen one of the same user in which the forgotten one has the
            higher score: the membership test's area under the curve. A model that has never seen either has about ``chance``.
        chance: that share by the scores of neighbours (see ``Knowledge``), which know neither: one half, but for the luck of the draw.
    """

    recall: float
    expected: float
    told_apart: float
    chance: float

    @property
    def excess(self) -> float:
        """How much more a model knows than one that has never seen the forgotten, as a logarithm: 0 for as much. It is the mean of two
        looks at it: the recall beside the expected one, and the odds of the membership test beside those of chance."""
        ratio = math.log(max(self.recall, SMALLEST) / max(self.expected, SMALLEST))
        return (ratio + _log_odds(self.told_apart) - _log_odds(self.chance)) / 2


class Knowledge:
    """Asks models of a run's ids what they know of the forgotten interactions.

    Of a user who goes, a model is told a random half of what they had, as the history of a stranger, and asked for the other half: if it
    finds more than a model that has never met the user, it is what all users share that knows more. Of a user who stays, it is asked for
    the forgotten items by what it has of the user. An item that goes is in no ranking, and in no question.

    What to expect of a model that has never seen the forgotten comes from neighbours, which score an item by the sum of its cosines to the
    user's items, over the interactions that stay: their recall of the forgotten, times the model's recall of validation items beside
    theirs, for users who stay.

    Args:
        run: over what stays.
        forgotten: of that run.
    """

    def __init__(self, run: KeptRun, forgotten: Forgotten) -> None:
        self.run, self.k, self.hidden, self.histories = run, max(run.config["topk"]), forgotten.items, Histories.of_dataset(run.dataset)
        self._draws = torch.Generator().manual_seed(run.config["seed"])
        kept = {part: _pairs(loader._dataset) for part, loader in zip(PARTS, run.loaders, strict=True)}
        learned = _without(forgotten.pairs_of("training"), forgotten.items)
        unseen = {part: _without(torch.cat([kept[part], forgotten.pairs_of(part)]), forgotten.items) for part in PARTS[1:]}
        users, items = kept["training"].T.numpy()
        self._cosines = _Cosines(users, items, (run.dataset.user_num, run.dataset.item_num))
        goes = torch.isin(learned[:, 0], forgotten.users)
        strangers = self._questions(*_halves(learned[goes], self._draws), unseen, strangers=True)
        others = self._questions(kept["training"], learned[~goes], unseen, strangers=False)
        self.groups = [group for group in (strangers, others) if len(group)]
        told = {True: _halves(kept["training"], self._draws)[0], False: kept["training"]}
        self._controls = [self._questions(told[group.strangers], kept["valid"], {}, group.strangers) for group in self.groups]

    def __bool__(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.groups)

    def of(self, model, part: str = "valid") -> Known:
        """What a model of the run's ids knows.

        Args:
            part: where the never-seen interactions of the membership test are from, ``valid`` or ``test``.

        Raises:
            InputError: the model cannot rank items for strangers, and is asked to.
        """
        scores = ModelScores(self.run.config, model, self.run.dataset, self.histories)

        def by_model(questions: Questions, rows: slice) -> Tensor:
            if questions.strangers:
                return scores.of_histories(questions.known[rows])
            return scores.of_users(questions.users[rows])

        found, chance, expected = [], [], []
        for group, control in zip(self.groups, self._controls, strict=True):
            own, control_recall = self._answers(by_model, group, part), self._answers(by_model, control)[0]
            theirs, their_control = self._of_neighbours(group, part), self._of_neighbours(control)[0]
            found.append(own)
            chance.append(theirs[1])
            expected.append(theirs[0] * float(control_recall.mean() / their_control.mean().clamp_min(SMALLEST)))
        recalls, shares = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Known(*(float(values.nanmean()) for values in (recalls, torch.cat(expected), shares, torch.cat(chance))))

    def _questions(self, known: Tensor, sought: Tensor, unseen: Mapping[str, Tensor], strangers: bool) -> Questions:
        """Those about pairs (user, item) of ``sought``, of ``USERS_AT_MOST`` users at most, of whom ``known`` and ``unseen`` are pairs."""
        users = sought[:, 0].unique()
        users = users[torch.isin(users, known[:, 0])]
        if len(users) > USERS_AT_MOST:
            users = users[torch.randperm(len(users), generator=self._draws)[:USERS_AT_MOST]].sort().values
        of_users = {part: _by_user(pairs, users) for part, pairs in unseen.items()}
        return Questions(users, _by_user(known, users), _by_user(sought, users), of_users, strangers)

    @lru_cache  # noqa: B019, for as long as the knowledge is asked
    def _of_neighbours(self, questions: Questions, part: str | None = None) -> tuple[Tensor, Tensor]:
        return self._answers(lambda asked, rows: self._cosines(asked.known[rows]), questions, part)

    def _answers(self, rank: Callable[[Questions, slice], Tensor], questions: Questions, part: str | None = None) -> tuple[Tensor, Tensor]:
        """The recall of each user's sought items among the best k, (n,); and the share of pairs with a never-seen item that rank the sought
        one higher, NaN for users without either, (n,), or (0,) where no part is named.

        Args:
            rank: the scores (rows, n_items) of some of the questions' rows.
        """
        recalls, shares = [], []
        for start in range(0, len(questions), USERS_AT_ONCE):
            rows = slice(start, start + USERS_AT_ONCE)
            scores = rank(questions, rows).clone()
            if part is not None:
                of_rows = zip(scores, questions.sought[rows], questions.unseen[part][rows], strict=True)
                shares += [_share(own[sought], own[unseen]) for own, sought, unseen in of_rows]
            scores[:, 0] = scores[:, self.hidden] = -torch.inf
            scores[_places(questions.known[rows])] = -torch.inf
            hits = torch.zeros_like(scores)
            hits[_places(questions.sought[rows])] = 1
            recalls.append(hits.gather(1, top_k(scores, min(self.k, scores.shape[1]))).sum(1) / hits.sum(1))
        return torch.cat(recalls), torch.tensor(shares)


class _Cosines:
    """Scores of items by the sum of their cosines to what a user has.

    Args:
        users, items: (m,), the interactions that the cosines are taken over.
        shape: the numbers of users and items.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> None:
        matrix = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)
        matrix.data[:] = 1
        lengths = np.sqrt(np.maximum(matrix.getnnz(0), 1))
        self.by_item = matrix @ sparse.diags((1 / lengths).astype(np.float32))

    def __call__(self, histories: Sequence[Tensor]) -> Tensor:
        """Of n histories: (n, n_items). An item is not its own neighbour."""
        rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        own = sparse.csr_matrix(
            (np.ones(len(rows), np.float32), (rows, torch.cat(list(histories)).numpy())), (len(histories), self.by_item.shape[1])
        )
        return torch.from_numpy(((own @ self.by_item.T) @ self.by_item - own).toarray())


def _pairs(dataset) -> Tensor:
    """The users and items of a part of a data set: int64 (n, 2)."""
    return torch.stack([dataset.inter_feat[field].long() for field in (dataset.uid_field, dataset.iid_field)], 1)


def _without(pairs: Tensor, items: Tensor) -> Tensor:
    return pairs[~torch.isin(pairs[:, 1], items)]


def _halves(pairs: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs (user, item) in two random halves of each user's, the first one the larger; those of a user with one pair in neither."""
    pairs = pairs.unique(dim=0)[torch.randperm(len(pairs.unique(dim=0)), generator=draws)]
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    counts = torch.bincount(pairs[:, 0], minlength=1)
    place = torch.arange(len(pairs)) - (counts.cumsum(0) - counts)[pairs[:, 0]]
    several = counts[pairs[:, 0]] > 1
    return pairs[several & (place % 2 == 0)], pairs[several & (place % 2 == 1)]


def _places(lists: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The rows and columns of lists of columns, one per row."""
    return torch.repeat_interleave(torch.tensor([len(own) for own in lists])), torch.cat(list(lists))


def _share(ones: Tensor, others: Tensor) -> float:
    """The share of pairs in which the one is greater than the other; ties count half."""
    ones = ones.unsqueeze(1)
    return float(((ones > others).float() + (ones == others).float() / 2).mean())


def _by_user(pairs: Tensor, users: Tensor) -> list[Tensor]:
    """The items of each of some users (n,), in ascending order, in pairs (user, item)."""
    pairs = pairs[torch.isin(pairs[:, 0], users)].unique(dim=0)
    counts = torch.bincount(torch.searchsorted(users, pairs[:, 0]), minlength=len(users))
    return list(pairs[:, 1].split(counts.tolist()))


def _log_odds(share: float) -> float:
    share = min(max(share, SMALLEST), 1 - SMALLEST)
    return math.log(share / (1 - share))
