"""Items as a report shows them: neighbours, misses, cold items that were found, and maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from recbole_mm.data.atomic_file import read_kinds
from recbole_mm.data.item_file import ItemFile
from recbole_mm.errors import InputError
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.pictures import Item, Pictures

QUERIES, NEAREST, MISSES, ALIKE, COLD, FEW = 4, 7, 8, 3, 12, 5
LOOKED_AT, ON_MAP, CATEGORIES, LONGEST = 4000, 2000, 7, 60
CATEGORY_COLUMNS = ("category", "categories", "class", "genre", "genres", "type", "department", "brand")
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
    tables = tables or [_vectors(run)]
    return torch.cat([_centred(rows, present) for rows, present in tables], 1) / len(tables) ** 0.5


def _centred(rows: Tensor, present: Tensor) -> Tensor:
    return normalize(rows - rows[present].mean(0), dim=1) * present.unsqueeze(1)


def _vectors(run: LoadedRun) -> tuple[Tensor, Tensor]:
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


@dataclass(frozen=True)
class ItemMap:
    """Items in the plane.

    Attributes:
        by: what they are placed by, in words.
        places: (n, 2).
        explained: the share of the variance that the two directions have.
        titles: (n), escaped.
        colours: (n), the category of each item, or its number of training interactions.
        coloured_by: what the colours are: the column, or None for training interactions.
    """

    by: str
    places: np.ndarray
    explained: float
    titles: list[str]
    colours: list
    coloured_by: str | None


def item_maps(run: LoadedRun, pictures: Pictures) -> list[ItemMap]:
    """A map by the trained vectors, and one by each modality: the first two principal components of up to ``ON_MAP`` items."""
    recommender, rng = run.recommender, np.random.default_rng(run.record.seed)
    tokens = recommender.items
    if len(tokens) > ON_MAP:
        tokens = [tokens[place] for place in sorted(rng.choice(len(tokens), ON_MAP, replace=False))]
    served, (column, colours) = recommender.parts.items.served, categories(run, tokens)
    tables = {"model": _vectors(run)} if recommender.scores.has_vectors() else {}
    tables |= {modality: recommender.parts.items.features(modality) for modality in recommender.modalities}
    maps = []
    for by, (rows, present) in tables.items():
        chosen = served.rows(tokens)
        there = present[chosen]
        if int(there.sum()) < 3:
            continue
        places, explained = principal(rows[chosen[there]].double().numpy())
        own = [place for place, here in enumerate(there.tolist()) if here]
        titles = [escape(_cut(pictures.catalogue.title(tokens[place]) or tokens[place])) for place in own]
        maps.append(ItemMap(words_for(by), places, explained, titles, [colours[place] for place in own], column))
    return maps


def principal(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """The first two principal components (n, 2) of rows (n, d), and their share of the variance."""
    centred = rows - rows.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    variance = (sizes**2).sum()
    places = left[:, :2] * sizes[:2]
    if places.shape[1] < 2:
        places = np.column_stack([places, np.zeros(len(places))])
    return places, float((sizes[:2] ** 2).sum() / variance) if variance else 0.0


def categories(run: LoadedRun, tokens: Sequence[str]) -> tuple[str | None, list]:
    """The category of each item, from the first column of the ``.item`` file that is called like one, and the column; without one, the
    number of training interactions of each, and None. Of a sequence of words the first one counts."""
    by_count = None, [run.counts.get(token, 0) for token in tokens]
    try:
        file = ItemFile.of(run.config, Path(run.config["data_path"]))
    except (InputError, OSError):
        return by_count
    column = next((name for name in CATEGORY_COLUMNS if name in file.columns), None)
    if column is None:
        return by_count
    cells = dict(zip(file.ids, file.columns[column], strict=True))
    sequence = read_kinds(file.path, run.config["field_separator"], run.config["encoding"] or "utf-8")[column] == "token_seq"
    words = [cell.split(" ")[0] if sequence else cell for cell in (cells.get(token, "").strip() for token in tokens)]
    frequent = sorted(set(words) - {""}, key=lambda word: (-words.count(word), word))[:CATEGORIES]
    return column, [word if word in frequent else "other" for word in words]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
