"""What a model still knows of the forgotten, beside what a model would that has never seen them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from recbole.utils import ModelType
from torch import Tensor

from recbole_mm.evaluation.top import top_k
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.model_scores import ModelScores
from recbole_mm.serving.new_users import UserMap
from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.neighbours import Cosines
from recbole_mm.unlearning.questions import Questions, Side
from recbole_mm.unlearning.request import Forgotten

AT_ONCE = 256
SMALLEST = 1e-3
"""What stands for a recall, or a share of pairs, that is smaller."""
OVERRATED = 0.07
"""How much more, as a logarithm, neighbours find of users who go than a model that has never seen them, times what it finds beside them of
users who stay: these have been learned from. Twelve models that were trained without the forgotten found .066 less (standard deviation
.076; benchmarks/RESULTS.md, "Unlearning")."""


@dataclass(frozen=True)
class Known:
    """What a model knows of the forgotten training interactions.

    Attributes:
        recall: the share of them among the best k of a ranking, as a mean over the rankings.
        expected: the recall that is to be expected of a model that has never seen them.
        told_apart: the share of pairs of a forgotten interaction and a never-seen one of the same user in which the forgotten one has the
            higher score: the membership test's area under the curve. A model that has never seen either has about ``chance``. None where
            nobody has both.
        chance: that share by two that know neither, the mean of neighbours (see ``Knowledge``) and of popularity: one half, but for the
            luck of the draw.
    """

    recall: float
    expected: float
    told_apart: float | None
    chance: float | None

    @property
    def excess(self) -> float:
        """How much more a model knows than one that has never seen the forgotten, as a logarithm: 0 for as much. It is the mean of two
        looks at it: the recall beside the expected one, and the odds of the membership test, as far as there is one, beside those of
        chance."""
        ratio = math.log(max(self.recall, SMALLEST) / max(self.expected, SMALLEST))
        if self.told_apart is None:
            return ratio
        return (ratio + _log_odds(self.told_apart) - _log_odds(self.chance)) / 2


class Knowledge:
    """Asks models of a run's ids what they know of the forgotten interactions.

    Of a user who goes, a model is told a random half of what they had, as the history of a stranger, and asked for the other half: if it
    finds more than a model that has never met the user, it is what all users share that knows more. An item that goes is asked for in the
    same way, by half of the users who had it. Of a user who stays, a model is asked for the forgotten items by what it has of the user.

    What to expect of a model that has never seen the forgotten comes from neighbours, which score an item by the sum of its cosines to the
    user's items, over the interactions that stay: their recall of the forgotten, times the model's recall of validation items beside
    theirs, for users who stay; of users who go, a little less (``OVERRATED``). A model that was refitted has learned its validation items,
    so the neighbours' recall stands alone, and there is no membership test, since nothing is never-seen.

    Args:
        run: over what stays.
        forgotten: of that run.
    """

    def __init__(self, run: KeptRun, forgotten: Forgotten) -> None:
        self.run, self.k = run, max(run.config["topk"])
        users, items = (Side(run, forgotten, of_items) for of_items in (False, True))
        self.sides, self._users = [side for side in (users, items) if side.asked], users

    @property
    def reads_histories(self) -> bool:
        """Whether the run's model reads what a user has, and has no rows of users."""
        return _Asked(self.run, self.run.model, self.sides[0]).scores.reads_histories

    def __bool__(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.sides)

    def of(self, model, part: str = "valid") -> Known:
        """What a model of the run's ids knows.

        Args:
            part: where the never-seen interactions of the membership test are from, ``valid`` or ``test``.

        Raises:
            InputError: the model cannot rank items for strangers, or users for an item, and is asked to.
        """
        found, expected, chance = [], [], []
        for side in self.sides:
            asked = _Asked(self.run, model, side)
            for forgotten, others in side.asked:
                found.append(self._answers(asked, side, forgotten, part))
                of_neighbours, by_chance = self._of_neighbours(side, forgotten, part)
                overrated = OVERRATED if forgotten.strangers and not side.of_items else 0.0
                chance.append(torch.sigmoid(torch.logit(by_chance) - overrated))
                expected.append((of_neighbours * self._beside_neighbours(asked, side, others) * math.exp(-overrated)).clamp_max(1))
        recalls, shares = (torch.cat(parts) for parts in zip(*found, strict=True))
        means = (float(values.nanmean()) for values in (recalls, torch.cat(expected), shares, torch.cat(chance)))
        return Known(*(None if math.isnan(mean) else mean for mean in means))

    def _beside_neighbours(self, asked: "_Asked", side: Side, others: Questions) -> float:
        """How many times the recall of neighbours a model has, by what no model has learned of users who stay. A recall that is worse than
        that of a random ranking counts as that."""
        if self.run.refitted or not len(others):
            return 1.0
        own, theirs = self._answers(asked, side, others)[0].mean(), self._of_neighbours(side, others)[0].mean()
        at_random = self.k / side.shape[1]
        return float(own.clamp_min(at_random) / theirs.clamp_min(at_random))

    def of_the_others(self, model) -> float:
        """The recall of validation items, as a mean over users who stay."""
        asked = _Asked(self.run, model, self._users)
        return float(self._answers(asked, self._users, self._users.staying)[0].mean())

    @lru_cache  # noqa: B019, for as long as the knowledge is asked
    def _of_neighbours(self, side: Side, questions: Questions, part: str | None = None) -> tuple[Tensor, Tensor]:
        cosines = Cosines(*side.pairs["training"].T.numpy(), side.shape)
        recalls, shares = self._answers(lambda asked, rows: cosines(asked.known[rows]), side, questions, part)
        popular = self._answers(lambda asked, rows: cosines.popularity.expand(len(asked.ids[rows]), -1), side, questions, part)[1]
        return recalls, (shares + popular) / 2

    def _answers(
        self, rank: Callable[[Questions, slice], Tensor], side: Side, questions: Questions, part: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """The recall of each user's sought items among the best k, (n,); and the share of pairs with a never-seen item that rank the sought
        one higher, NaN for users without either, (n,), or (0,) where no part is named.

        Args:
            rank: the scores (rows, n_items) of some of the questions' rows.
        """
        recalls, shares = [torch.zeros(0)], []
        for start in range(0, len(questions), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            scores = rank(questions, rows).clone()
            if part is not None:
                of_rows = zip(scores, questions.sought[rows], questions.unseen[part][rows], strict=True)
                shares += [_share(own[sought], own[unseen]) for own, sought, unseen in of_rows]
            scores[:, 0] = scores[:, side.hidden] = -torch.inf
            scores[_places(questions.known[rows])] = -torch.inf
            hits = torch.zeros_like(scores)
            hits[_places(questions.sought[rows])] = 1
            recalls.append(hits.gather(1, top_k(scores, min(self.k, scores.shape[1]))).sum(1) / hits.sum(1))
        return torch.cat(recalls), torch.tensor(shares)


class _Asked:
    """Ranks by a model's scores: items for users, or users for items that are not known, by the vectors of the users who had them."""

    def __init__(self, run: KeptRun, model, side: Side) -> None:
        self.side = side
        histories = Histories.of_dataset(run.dataset)
        if run.config["MODEL_TYPE"] == ModelType.SEQUENTIAL:  # which would read what it is asked for
            users, items = side.pairs["training"].T.flip(0) if side.of_items else side.pairs["training"].T
            histories = Histories(users, items, run.dataset.user_num)
        self.scores = ModelScores(run.config, model, run.dataset, histories)

    def __call__(self, questions: Questions, rows: slice) -> Tensor:
        if self.side.of_items:
            users = self.scores.vectors()[0]
            return self._item_map(questions.known[rows], users) @ users.T
        if questions.strangers:
            return self.scores.of_histories(questions.known[rows])
        return self.scores.of_users(questions.ids[rows])

    @cached_property
    def _item_map(self) -> UserMap:
        users, items = self.scores.vectors()
        return UserMap.fitted(items, users, self.side.histories)


def _places(columns: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The rows and columns of lists of columns, one list per row."""
    return torch.repeat_interleave(torch.tensor([len(own) for own in columns])), torch.cat(list(columns))


def _share(ones: Tensor, others: Tensor) -> float:
    """The share of pairs in which the one is greater than the other; ties count half."""
    ones = ones.unsqueeze(1)
    return float(((ones > others).float() + (ones == others).float() / 2).mean())


def _log_odds(share: float) -> float:
    share = min(max(share, SMALLEST), 1 - SMALLEST)
    return math.log(share / (1 - share))
