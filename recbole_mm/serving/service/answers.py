"""Answers of the routes, from what a Recommender returns."""

from collections.abc import Iterable

import pandas as pd
from fastapi.responses import JSONResponse

from recbole_mm.serving.recommender import Recommender


def ranking(recommender: Recommender, table: pd.DataFrame) -> JSONResponse:
    """A ranking with the columns ``item, rank, score``."""
    columns = (table[name].tolist() for name in ("item", "rank", "score"))
    return JSONResponse(
        {"items": [{**shown(recommender, item), "rank": rank, "score": score} for item, rank, score in zip(*columns, strict=True)]}
    )


def items(recommender: Recommender, tokens: Iterable[str]) -> list[dict[str, object]]:
    return [shown(recommender, token) for token in tokens]


def shown(recommender: Recommender, token: str) -> dict[str, object]:
    catalogue = recommender.catalogue
    return {"item": token, "title": catalogue.title(token), "picture": catalogue.has_thumbnail(token)}
