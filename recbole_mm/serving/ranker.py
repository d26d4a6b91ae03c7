"""The best items of users, by the quickest way that their model has."""

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_mm.errors import InputError
from recbole_mm.evaluation.chunks import SCORES_AT_ONCE
from recbole_mm.serving.exact import Found, best_products
from recbole_mm.serving.index import VectorIndex
from recbole_mm.serving.item_side import ItemSide
from recbole_mm.serving.ranking import best
from recbole_mm.serving.scores import Scores

PRODUCTS_AT_ONCE = 4096


class Ranker:
    """Ranks the items that are ``allowed``, bool (n_rows,), by row of ``items.served``.

    Args:
        scores: of the model.
        items: the model's and those added since.
        index: of the model's vectors of items, which is searched instead of looking at every item.
    """

    def __init__(self, scores: Scores, items: ItemSide, index: VectorIndex | None = None) -> None:
        self.scores, self.items, self.index = scores, items, index

    @property
    def users_at_once(self) -> int:
        """How many users ``of_users`` should be given."""
        return PRODUCTS_AT_ONCE if self.scores.are_products else max(1, SCORES_AT_ONCE // len(self.items.served.allowed))

    def of_users(self, users: Tensor, k: int, allowed: Tensor, banned: tuple[Tensor, Tensor], without_seen: bool) -> Found:
        """The best k items of known users (n,).

        Args:
            banned: int64 (p,) each: places among the users, and rows that are not for them.
            without_seen: whether all that they have is among these.

        Returns:
            Places among the users, rows and scores, (q,) each: in the order of the users, the best first.
        """
        if self.scores.are_products and (without_seen or not self.scores.has_repeat_bias):
            return self.of_vectors(self.scores.vectors()[0][users], k, allowed, banned)
        own = self.scores.similarities
        by = (lambda: self.scores.vectors()[0][users]) if own is None else (lambda: own.rows_of_users(users))
        return self._of_scores(self.scores.of_users(users), by, k, allowed, banned)

    def of_history(self, history: Tensor, k: int, allowed: Tensor, banned: Tensor, times: Tensor | None = None) -> Found:
        """The best k items of somebody who has the items in these rows. Added items count where the model has vectors of users and does
        not read the history itself.

        Args:
            banned: int64 (p,), rows that are not for them.
            times: of the history (n,), for a sequential model; None where they are not known.

        Raises:
            InputError: the model cannot score for users it was not trained with, or knows none of the items.
        """
        pairs = torch.zeros_like(banned), banned
        if not self.scores.reads_histories:
            return self.of_vectors(self.scores.user_vectors([history], self.items.vectors()), k, allowed, pairs)
        own, is_known = self.scores.similarities, history < self.items.served.n_known
        known, when = [history[is_known]], None if times is None else [times[is_known]]
        if not len(known[0]):
            raise InputError(f"{self.scores.name} knows none of the items of the history")
        scores = self.scores.of_histories(known, when)

        def by() -> Tensor:
            return self.scores.user_vectors(known, self.items.vectors(), when) if own is None else own.rows_of_histories(known)

        return self._of_scores(scores, by, k, allowed, pairs)

    def of_vectors(self, users: Tensor, k: int, allowed: Tensor, banned: tuple[Tensor, Tensor]) -> Found:
        """The best k items by the product with vectors of users (n, d)."""
        search = best_products if self.index is None else self.index.best
        return search(users, self.items.vectors(), k, allowed, banned)

    def _of_scores(self, scores: Tensor, users: Callable[[], Tensor], k: int, allowed: Tensor, banned: tuple[Tensor, Tensor]) -> Found:
        """By scores (n, n_known) of the model's items, and for those added by what ``users()`` gives, by which their vectors are
        multiplied."""
        added = self.items.served.vectors
        scores = torch.cat([scores, users() @ added.T], 1) if len(added) else scores
        scores[:, ~allowed] = -torch.inf
        scores[banned] = -torch.inf
        return best(scores, k)
