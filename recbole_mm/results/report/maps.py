"""Maps of the items: their vectors in the plane, coloured by category."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from recbole_mm.data.atomic_file import read_kinds
from recbole_mm.data.item_file import ItemFile
from recbole_mm.errors import InputError
from recbole_mm.results.report.items import vectors, words_for
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.pictures import Pictures

ON_MAP, CATEGORIES, LONGEST = 2000, 7, 60
CATEGORY_COLUMNS = ("category", "categories", "class", "genre", "genres", "type", "department", "brand")


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
    tables = {"model": vectors(run)} if recommender.scores.has_vectors() else {}
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
