"""The scores of a batch of rows (users, or sequences), and what metrics need of them: the best items, and the ranks of some.

What is not to be recommended has the score -inf. ``top(k)`` gives the ids of the k best items of each row, the best first, with equal
scores in the order of ``torch.topk``: int64 (n, k). ``rank_sums(rows, items)`` gives, for each row, the sum of the ranks of some of its
items, from 1, where items of the same score share the mean of their ranks; the number of its items that are not -inf; and how many items
were asked for: float64 (n, 3).
"""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recbole_mm.evaluation.top import best, columns_of, top_k, with_ties

FEW = 8
"""Up to how many items per row are ranked one by one; for more, rows are sorted."""
IN_PARTS, WHOLE = 128, 16
"""How many rows are scored at once where there is no room for them: a part of the items at a time, or, for what needs them, all items."""
ALIGNED = 16
"""Rows of a buffer start at multiples of as many numbers, which makes a product of matrices up to twice as fast on a CPU."""


class WholeRows:
    """Scores of all items.

    Args:
        scores: (n, n_items).
    """

    def __init__(self, scores: Tensor) -> None:
        self.scores, self.n_items = scores, scores.shape[1]

    def top(self, k: int) -> Tensor:
        return top_k(self.scores, k)

    def rank_sums(self, rows: Tensor, items: Tensor) -> Tensor:
        n, own = len(self.scores), self.scores[rows, items]
        if len(rows) > FEW * n:
            ranks = _sorted_ranks(self.scores, rows, own)
        else:
            ranks = torch.cat([_counted_ranks(self.scores[some], values) for some, values in zip(rows.split(n), own.split(n), strict=True)])
        return _sums(ranks, rows, (self.scores > -torch.inf).sum(1))

    def release(self) -> None:
        """Lets go of the scores, so that those of the next batch may lie in the same memory, which a CPU has in its cache."""
        self.scores = None


class Products:
    """Scores that are products of embeddings, of which no more are held at once than there is room for: those of some rows, and where the
    catalogue is large, of a part of the items.

    Args:
        users: (n, d).
        items: (n_items, d).
        masked: rows and item ids, (m,) each, of what is not to be recommended; the item 0 never is.
        room: a buffer for scores, (size,), which the next batch uses again.
    """

    def __init__(self, users: Tensor, items: Tensor, masked: tuple[Tensor, Tensor], room: Tensor) -> None:
        self.users, self.items, self.masked, self.room, self.n_items = users, items, masked, room, len(items)
        self.fitting = len(room) // aligned(len(items))

    def top(self, k: int) -> Tensor:
        n, at_once = len(self.users), self.fitting if self.fitting >= WHOLE else IN_PARTS
        if n <= self.fitting:
            return self.whole.top(k)
        if n > at_once:
            return torch.cat([self._of(rows).top(k) for rows in self._rows().split(at_once)])
        values, ids = self._best(k + 1)
        return with_ties(values, ids, lambda tied: torch.cat([self._of(rows).whole.top(k) for rows in tied.split(WHOLE)]))

    def rank_sums(self, rows: Tensor, items: Tensor) -> Tensor:
        n, at_once = len(self.users), max(self.fitting, WHOLE)
        if n <= at_once:
            return self.whole.rank_sums(rows, items)
        found = []
        for some in self._rows().split(at_once):
            own, places = among(some, rows, n)
            found.append(self._of(some).whole.rank_sums(places, items[own]))
        return torch.cat(found)

    @cached_property
    def whole(self) -> WholeRows:
        """All of them at once."""
        return WholeRows(self._masked(0, self.items, *self.masked))

    def _best(self, k: int) -> tuple[Tensor, Tensor]:
        """The k highest scores of each row and their items, (n, k) each, the best first, from one part of the items after the other."""
        width = max(1, len(self.room) // len(self.users) // ALIGNED) * ALIGNED
        parts = self.items.split(width)
        rows, ids = (of[self.masked[1].argsort()] for of in self.masked)
        bounds = torch.searchsorted(ids, torch.arange(len(parts) + 1, device=ids.device) * width).tolist()
        values, found = self.users.new_empty(len(self.users), 0), ids.new_empty(len(self.users), 0)
        for place, part in enumerate(parts):
            start, here = place * width, slice(bounds[place], bounds[place + 1])
            more, columns = best(self._masked(start, part, rows[here], ids[here]), k)
            values, found = torch.cat([values, more], 1), torch.cat([found, columns + start], 1)
            values, order = values.topk(min(k, values.shape[1]))
            found = found.gather(1, order)
        return values, found

    def _masked(self, start: int, items: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        """The scores of a part of the items, whose ids begin at ``start``, in the buffer if there is room."""
        n, columns = len(self.users), len(items)
        width = aligned(columns)
        room = self.room if n * width <= len(self.room) else self.users.new_empty(n * width)
        scores = torch.mm(self.users, items.T, out=room[: n * width].view(n, width)[:, :columns])
        scores[rows, ids - start] = -torch.inf
        if start == 0:
            scores[:, 0] = -torch.inf
        return scores

    def _rows(self) -> Tensor:
        return torch.arange(len(self.users), device=self.users.device)

    def _of(self, rows: Tensor) -> "Products":
        own, places = among(rows, self.masked[0], len(self.users))
        return Products(self.users[rows], self.items, (places, self.masked[1][own]), self.room)


class Candidates:
    """Scores of a few candidates per row; all other items are not to be recommended.

    Args:
        rows, items, scores: of the candidates, (c,) each. Some may be given twice.
        n: how many rows there are.
        n_items: how many items there are.
    """

    def __init__(self, rows: Tensor, items: Tensor, scores: Tensor, n: int, n_items: int) -> None:
        keys, places = torch.unique(rows * n_items + items, return_inverse=True)
        self.n_items, self.rows, self.items = n_items, keys // n_items, keys % n_items
        self.values = scores.new_empty(len(keys)).index_copy(0, places, scores)
        self.columns, counts = columns_of(self.rows, n)
        self.scores = scores.new_full((n, int(counts.max())), -torch.inf).index_put((self.rows, self.columns), self.values)

    def top(self, k: int) -> Tensor:
        padded = functional.pad(self.scores, (0, k + 1), value=-torch.inf)
        ids = self.rows.new_zeros(padded.shape).index_put((self.rows, self.columns), self.items)
        values, places = padded.topk(k + 1)
        return with_ties(values, ids.gather(1, places), lambda tied: self._whole(tied).topk(k).indices)

    def rank_sums(self, rows: Tensor, items: Tensor) -> Tensor:
        places = torch.searchsorted(self.rows * self.n_items + self.items, rows * self.n_items + items)
        own = self.values[places].unsqueeze(1)
        greater, equal = (self.scores[rows] > own).sum(1), (self.scores[rows] == own).sum(1)
        equal = torch.where(own.squeeze(1) == -torch.inf, self.n_items - greater, equal)
        return _sums(greater + (equal.double() + 1) / 2, rows, (self.scores > -torch.inf).sum(1))

    def _whole(self, rows: Tensor) -> Tensor:
        own, place = among(rows, self.rows, len(self.scores))
        scores = self.scores.new_full((len(rows), self.n_items), -torch.inf)
        return scores.index_put_((place, self.items[own]), self.values[own])


def aligned(n: int) -> int:
    """The length of a row of n numbers in a buffer."""
    return -(-n // ALIGNED) * ALIGNED


def among(rows: Tensor, of_pairs: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Which pairs belong to some of n rows, bool (m,), and to which of these each of them does."""
    places = rows.new_full((n,), -1).index_copy(0, rows, torch.arange(len(rows), device=rows.device))[of_pairs]
    own = places >= 0
    return own, places[own]


def _counted_ranks(scores: Tensor, own: Tensor) -> Tensor:
    """The rank of one score (n,) in each row."""
    own = own.unsqueeze(1)
    return torch.count_nonzero(scores > own, 1) + (torch.count_nonzero(scores == own, 1).double() + 1) / 2


def _sorted_ranks(scores: Tensor, rows: Tensor, own: Tensor) -> Tensor:
    """The ranks of scores (p,) in their rows. On a CPU, numpy's sort is three times quicker than torch's, which sorts the columns too."""
    ascending = torch.from_numpy(np.sort(scores.numpy())) if scores.device.type == "cpu" else scores.sort(1).values
    columns, counts = columns_of(rows, len(scores))
    asked = own.new_zeros(len(scores), int(counts.max())).index_put((rows, columns), own)
    below, upto = (torch.searchsorted(ascending, asked, right=right)[rows, columns] for right in (False, True))
    return scores.shape[1] - upto + ((upto - below).double() + 1) / 2


def _sums(ranks: Tensor, rows: Tensor, n_open: Tensor) -> Tensor:
    of_each = torch.bincount(rows, ranks, minlength=len(n_open)), n_open, torch.bincount(rows, minlength=len(n_open))
    return torch.stack([column.double() for column in of_each], 1)
