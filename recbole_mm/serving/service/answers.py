"""Answers of the routes, from what a Recommender returns."""

from collections.abc import Iterable
from json import JSONEncoder

import pandas as pd
from fastapi.responses import JSONResponse

from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.recommender import Recommender

ENCODE = JSONEncoder(separators=(",", ":")).encode


class Answer(JSONResponse):
    """JSON in ASCII, which holds any text there is."""

    def render(self, content: object) -> bytes:
        return ENCODE(content).encode("ascii")


def ranking(recommender: Recommender, best: Iterable[tuple[str, float]]) -> Answer:
    """Items and their scores, the best first."""
    catalogue = recommender.catalogue
    return Answer({"items": [{**shown(catalogue, item), "rank": rank, "score": score} for rank, (item, score) in enumerate(best, 1)]})


def ranking_of(recommender: Recommender, table: pd.DataFrame) -> Answer:
    """A table with the columns ``item, rank, score``."""
    return ranking(recommender, zip(table["item"].tolist(), table["score"].tolist(), strict=True))


def shown(catalogue: Catalogue, token: str) -> dict[str, object]:
    """What people see of an item."""
    return {"item": token, "title": catalogue.title(token), "picture": catalogue.has_thumbnail(token)}
