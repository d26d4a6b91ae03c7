"""Recommender: a trained model in use. Users and items are named by their tokens, never by internal ids."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from recbole_mm.errors import InputError, UnknownToken, unknown
from recbole_mm.quick_start import load_data_and_model
from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.changes import Changes, up_to_date
from recbole_mm.serving.exact import Found
from recbole_mm.serving.export.read import folder_parts
from recbole_mm.serving.journal import RemovedItem
from recbole_mm.serving.neighbours import Neighbours
from recbole_mm.serving.parts import Parts, run_parts
from recbole_mm.serving.ranker import Ranker
from recbole_mm.serving.ranking import item_table


class Recommender:
    """Recommendations, similar items and search by the model of a checkpoint.

        recommender = Recommender.load("saved/CLIPRec-shop-....pth")
        recommender.recommend(["u17", "u18"], k=10)      # user, item, rank, score
        recommender.recommend_for(["i3", "i8"], k=10)    # for somebody who has these items
        recommender.similar("i3", by="image")
        recommender.search("red wool scarf")
        recommender.add_items([{"item_id": "new", "title": "Blue scarf", "image": "scarf.jpg"}])

    Attributes:
        users: the tokens of all users that the model knows.
        changes: by which items come and go. Several threads may use a recommender at once.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.users, self.scores, self._items = parts, parts.users, parts.scores, parts.items
        self._served = parts.items.served
        self.changes = Changes(self._served, lambda: parts.catalogue, parts.journal)
        self._encoding = Lock()
        self._ranker = Ranker(parts.scores, parts.items, parts.index)
        self._neighbours = Neighbours(parts.items, self._ranker)
        self._user_ids = {token: i for i, token in enumerate(self.users, 1)}

    @classmethod
    def load(cls, path: str | Path, model_class: type | None = None) -> "Recommender":
        """Loads the model of a checkpoint, ours or RecBole's, over its data set (see ``load_data_and_model``), or an exported folder.

        Raises:
            InputError: there is no such checkpoint or folder, or it does not fit the data set or the encoder that is there now.
        """
        if not Path(path).exists():
            raise InputError(f"no checkpoint or exported folder {path}")
        if Path(path).is_dir():
            return cls(folder_parts(Path(path), model_class))
        config, model, dataset, train_data, *_ = load_data_and_model(path, model_class)
        return cls(run_parts(config, model, dataset, train_data._dataset))

    @property
    def manifest(self) -> Mapping[str, object]:
        """What an exported folder says of itself; empty for a checkpoint."""
        return self.parts.manifest

    @property
    @up_to_date
    def catalogue(self) -> Catalogue:
        """Titles and small pictures of the items."""
        return self.parts.catalogue

    def refresh(self) -> None:
        """Takes over the items that other processes have added to the folder and removed from it. Every method begins with this.

        Raises:
            JournalError: the journal of the folder is damaged.
        """
        self.changes.refresh()

    @property
    @up_to_date
    def modalities(self) -> list[str]:
        """What ``similar`` can go by besides the model."""
        return self._items.modalities

    @up_to_date
    def history(self, user: str) -> list[str]:
        """The items that a user has in any part of the data, the oldest first.

        Raises:
            InputError: an unknown user.
        """
        return list(self._served.tokens[self.scores.histories[int(self.user_ids([user])[0])]])

    @property
    @up_to_date
    def items(self) -> list[str]:
        """The tokens of all items that are recommended."""
        return list(self._served.tokens[self._served.allowed.numpy()])

    @up_to_date
    def counts(self) -> dict[str, int]:
        """How many ``users`` there are, how many ``items`` are recommended, and how many of these have been ``added`` since."""
        return {"users": len(self.users), "items": int(self._served.allowed.sum()), "added": self._served.n_added}

    @up_to_date
    def __contains__(self, item: str) -> bool:
        """Whether an item is recommended."""
        return item in self._served

    @property
    def users_at_once(self) -> int:
        """How many users ``recommend`` ranks for at once."""
        return self._ranker.users_at_once

    @up_to_date
    def recommend(
        self, users: Iterable[str] | None = None, k: int = 10, exclude_seen: bool = True, candidates: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """The best items of each user.

        Args:
            users: their tokens; None for all.
            k: how many items per user. A user gets fewer where fewer are left.
            exclude_seen: leaves out what the user has in any part of the data: training, validation or test.
            candidates: the only items to recommend; None for all.

        Returns:
            The columns ``user, item, rank, score``, in the order of the users, the best item first.

        Raises:
            InputError: an unknown user or item, or a k below 1.
        """
        tokens, k = self.users if users is None else list(users), _checked(k)
        ids, allowed = self.user_ids(tokens), self._served.among(candidates)
        found, at_once = [], self.users_at_once
        for start in range(0, len(ids), at_once):
            rows, columns, values = self._of_users(ids[start : start + at_once], k, exclude_seen, allowed)
            found.append((rows + start, columns, values))
        rows, columns, values = (torch.cat(parts).numpy() for parts in zip(*found, strict=True)) if found else [np.array([], dtype=int)] * 3
        ranks = np.arange(len(rows)) - np.searchsorted(rows, rows) + 1
        names = np.array(tokens, dtype=object)[rows]
        return pd.DataFrame({"user": names, "item": self._served.tokens[columns], "rank": ranks, "score": values})

    @up_to_date
    def top(self, user: str, k: int = 10, exclude_seen: bool = True) -> list[tuple[str, float]]:
        """The best items of one user and their scores: what ``recommend`` finds, in less time than it takes to make a table of them."""
        _, columns, values = self._of_users(self.user_ids([user]), _checked(k), exclude_seen, self._served.among(None))
        return list(zip(self._served.tokens[columns.numpy()].tolist(), values.tolist(), strict=True))

    def _of_users(self, ids: Tensor, k: int, exclude_seen: bool, allowed: Tensor) -> Found:
        places, seen = self.scores.histories.of(ids if exclude_seen else ids[:0])
        return self._ranker.of_users(ids, k, allowed, (places, self._served.current(seen)), exclude_seen)

    @up_to_date
    def recommend_for(
        self, history: Sequence[str], k: int = 10, exclude_seen: bool = True, candidates: Iterable[str] | None = None,
        times: Sequence[float] | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """The best items for anybody who has the items of ``history``, the oldest first: new and anonymous users.

        A sequential model reads the history itself, and so do models of item similarities (EASE, ItemKNN) and autoencoders. For a model
        with vectors of users, theirs is found from the items' vectors (see ``UserMap``).

        Args:
            times: when each item of the history was taken, in the units of the data set; HSTU reads them. None where they are not known.

        Returns:
            The columns ``item, rank, score``.

        Raises:
            InputError: an empty history, an unknown item, times that are not one per item, or a model that cannot score for users it was
                not trained with.
        """
        own = self._served.rows(history)
        if not len(own):
            raise InputError("an empty history: name at least one item")
        when = None if times is None else _checked_times(times, len(own))
        allowed = self._served.among(candidates)
        return self._table(self._ranker.of_history(own, _checked(k), allowed, own if exclude_seen else own[:0], when))

    @up_to_date
    def similar(self, item: str, k: int = 10, by: str = "model") -> pd.DataFrame:
        """The items most like an item, without itself.

        Args:
            by: ``model``: by the cosine of the model's vectors of items, which tell who takes them (for a model without vectors, what it
                recommends to somebody who has the item alone). A modality such as ``image`` or ``text``: by the cosine of the features.

        Returns:
            The columns ``item, rank, score``. Items that lack the modality are not among them.

        Raises:
            InputError: an unknown item or modality, or an item that lacks it.
        """
        return self._table(self._neighbours.of_item(item, _checked(k), by))

    def search(self, query: str | Path | Image.Image, k: int = 10) -> pd.DataFrame:
        """The items that fit a text, or a picture (given itself, or its file as a ``Path``), by the run's encoder.

        A text is compared with the items' texts, and also with their pictures where the two share a space; a picture is compared with
        pictures, or with texts where items have no pictures and the two share a space.

        Returns:
            The columns ``item, rank, score``. The score is a cosine, or the mean of several, each of them standardised over the catalogue.

        Raises:
            InputError: the run has no encoder that reads the query.
        """
        kind = "text" if isinstance(query, str) else "image"
        with self._encoding:
            modalities = self._items.queries.modalities(kind)
            row = self._items.queries.encode(query, kind)
        return self._like(row, modalities, _checked(k))

    @up_to_date
    def _like(self, row: Tensor, modalities: Sequence[str], k: int) -> pd.DataFrame:
        return self._table(self._neighbours.of_query(row, modalities, k))

    def add_items(self, rows: Iterable[Mapping[str, object]] | pd.DataFrame) -> list[str]:
        """Adds products that the model was not trained with: they are encoded as the run's items were, and ranked at once, without
        retraining. A token that is there already is updated. Where the recommender comes from a folder, they are in its journal when this
        returns, for every process that has the folder loaded and for all that load it later.

        Args:
            rows: dictionaries or a data frame with the columns of the ``.item`` file: the item's token, its texts, and its picture as a
                path, as bytes or as a PIL image.

        Returns:
            Their tokens.

        Raises:
            InputError: a row without a token, a picture that cannot be read, or a model that cannot rank such items; then none is added.
            OSError: the folder cannot be written; then none is added.
        """
        with self._encoding:
            added = self._items.encoded(rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows)
        self.changes.make(added)
        return [item.item for item in added]

    def remove_items(self, items: Iterable[str]) -> None:
        """Takes items out of all recommendations, searches and neighbours, as lastingly as ``add_items`` adds them.

        Raises:
            UnknownToken: an unknown item, or one that was removed already; then none is taken out.
            OSError: the folder cannot be written; then none is taken out.
        """
        tokens = list(items)
        for token in tokens:
            if token not in self:
                raise UnknownToken(f"unknown item '{token}'")
        self.changes.make([RemovedItem(token) for token in tokens])

    def user_ids(self, tokens: Sequence[str]) -> Tensor:
        """The internal ids of users (n,).

        Raises:
            InputError: an unknown user.
        """
        for token in tokens:
            if token not in self._user_ids:
                raise UnknownToken(f"{unknown('user', token, self._user_ids)}; recommend_for takes the items of a user that the model does "
                                   "not know")  # fmt: skip
        return torch.tensor([self._user_ids[token] for token in tokens], dtype=torch.int64)

    def _table(self, found: Found) -> pd.DataFrame:
        _, columns, values = found
        return item_table(self._served.tokens[columns.numpy()], values)


def _checked_times(times: Sequence[float], n: int) -> Tensor:
    values = np.array(times, dtype=np.float64)
    if values.shape != (n,) or not (np.abs(values) < np.finfo(np.float32).max).all():
        raise InputError(f"{len(times)} times of {n} items of the history: give a finite number for each, or none")
    return torch.from_numpy(values).float()


def _checked(k: int) -> int:
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise InputError(f"k is {k}, and must be a whole number above 0")
    return int(k)
