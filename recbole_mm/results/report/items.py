"""Items as a report shows them: neighbours, misses, and cold items that were found."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from recbole_mm.errors import InputError
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.pictures import Item, Pictures

QUERIES, NEAREST, MISSES, ALIKE, COLD, FEW = 4, 7, 8, 3, 12, 5
LOOKED_AT = 4000
WORDS = {"model": "trained vector", "image": "picture"}


def words_for(by: str) -> str:
    """What items are compared by, for people."""
    return WORDS.get(by, by)


@dataclass(frozen=True)
class Neighbours:
    """The items most like one, by several kinds of likeness: in words -> the items, the nearest first."""

    item: Item
    by: Mapping[str, list[Item]]


def neighbours(run: LoadedRun, pictures: Pictures) -> list[Neighbours]:
    """The neighbours of a few items that differ in popularity, drawn with the run's seed, by each kind of vector that there is."""
    recommender, rng = run.recommender, np.random.default_rng(run.record.seed)
    kinds = [*recommender.modalities, "model"]
    known = sorted(_whole(run) or recommender.items, key=lambda item: -run.counts.get(item, 0))
    chosen = [str(rng.choice(part)) for part in np.array_split(np.array(known, dtype=object), QUERIES) if len(part)]
    found = []
    for item in chosen:
        by = {}
        for kind in kinds:
            try:
                by[words_for(kind)] = [pictures.item(other) for other in recommender.similar(item, NEAREST, kind)["item"]]
            except InputError:  # the item lacks the modality, or the model has no vectors and reads no histories
                continue
        found.append(Neighbours(pictures.item(item, _n_training(run, item)), by))
    return found


def _whole(run: LoadedRun) -> list[str]:
    """The items that have every modality."""
    side = run.recommender.parts.items
    there = side.served.among(None)
    for modality in run.recommender.modalities:
        there &= side.features(modality)[1]
    return list(side.served.tokens[there.numpy()])


@dataclass(frozen=True)
class Miss:
    """A test item that was not found, and those of the user's items that are most like it."""

    user: str
    item: Item
    alike: list[Item]


def misses(run: LoadedRun, pictures: Pictures) -> list[Miss]:
    """The test interactions beyond the list whose items are most like what the user had before: by the mean cosine of the item and the
    three of the user's items that are nearest to it, by the features of all modalities, or else by the model's vectors."""
    rows = item_rows(run)
    if rows is None:
        return []
    served, candidates = run.recommender.parts.items.served, []
    missed = [(user, item) for user in run.users["user"] for item, rank in zip(run.taken(user), run.ranks(user), strict=True) if not rank]
    if len(missed) > LOOKED_AT:
        chosen = np.random.default_rng(run.record.seed).choice(len(missed), LOOKED_AT, replace=False)
        missed = [missed[place] for place in sorted(chosen)]
    histories: dict[str, list[str]] = {}
    for user, item in missed:
        before = histories.setdefault(user, run.before(user))
        if len(before) >= ALIKE:
            values = rows[served.rows(before)] @ rows[served.rows([item])[0]]
            best = values.topk(ALIKE)
            candidates.append((float(best.values.mean()), user, item, [before[place] for place in best.indices.tolist()]))
    candidates.sort(key=lambda found: -found[0])
    found, users, items = [], set(), set()
    for _, user, item, alike in candidates:
        if user not in users and item not in items and len(found) < MISSES:
            users.add(user)
            items.add(item)
            found.append(Miss(user, pictures.item(item, rank_of(run, user, item)), [pictures.item(other) for other in alike]))
    return found


def rank_of(run: LoadedRun, user: str, item: str) -> str:
    """How far down a missed item stands among all that the user did not have before the test."""
    scores, served = run.recommender.scores, run.recommender.parts.items.served
    if scores.sequential or run.draws_candidates:
        return f"beyond the top {len(run.recommended[user])}"
    own = scores.of_users(run.recommender.user_ids([user]))[0].clone()
    own[served.rows(run.before(user))] = -torch.inf
    own[0] = -torch.inf
    rank = int((own > own[served.rows([item])[0]]).sum()) + 1
    return f"rank {rank:,} of {int(torch.isfinite(own).sum()):,}"


def item_rows(run: LoadedRun) -> Tensor | None:
    """Rows (n, d) whose products say how alike items are: the features of all modalities, each centred and of length 1, or else the
    model's vectors; None where there are neither."""
    recommender = run.recommender
    tables = [recommender.parts.items.features(modality) for modality in recommender.modalities]
    if not tables and not recommender.scores.has_vectors():
        return None
    tables = tables or [vectors(run)]
    return torch.cat([_centred(rows, present) for rows, present in tables], 1) / len(tables) ** 0.5


def _centred(rows: Tensor, present: Tensor) -> Tensor:
    return normalize(rows - rows[present].mean(0), dim=1) * present.unsqueeze(1)


def vectors(run: LoadedRun) -> tuple[Tensor, Tensor]:
    """The model's vectors of all items (n, d), and which rows are items: bool (n,)."""
    rows = run.recommender.parts.items.vectors()
    present = torch.ones(len(rows), dtype=torch.bool)
    present[0] = False
    return rows, present


@dataclass(frozen=True)
class ColdItems:
    """Items with few interactions in training that were found in the test: how many of such test interactions, and examples."""

    n: int
    n_found: int
    items: list[Item]


def cold_items(run: LoadedRun, pictures: Pictures) -> ColdItems:
    """Of items with at most ``FEW`` interactions in training, those that were recommended to a user who took them."""
    rows = [
        (run.counts.get(item, 0), rank, user, item)
        for user in run.users["user"]
        for item, rank in zip(run.taken(user), run.ranks(user), strict=True)
        if run.counts.get(item, 0) <= FEW
    ]
    found, shown = sorted(row for row in rows if row[1]), {}
    for _, rank, user, item in found:
        shown.setdefault(item, (rank, user))
    items = [pictures.item(item, f"{_n_training(run, item)}; rank {rank} for {user}") for item, (rank, user) in list(shown.items())[:COLD]]
    return ColdItems(len(rows), len(found), items)


def _n_training(run: LoadedRun, item: str) -> str:
    n = run.counts.get(item, 0)
    return f"{n or 'no'} training interaction{'' if n == 1 else 's'}"
