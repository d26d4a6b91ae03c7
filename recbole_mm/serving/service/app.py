"""The service as an ASGI app."""

import mimetypes
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

import recbole_mm
from recbole_mm.serving.part_search import PartSearch
from recbole_mm.serving.recommender import Recommender
from recbole_mm.serving.service.bounds import MAX_PICTURE, MAX_ROWS_BODY, BodyLimit
from recbole_mm.serving.service.headers import SafeHeaders
from recbole_mm.serving.service.metrics import Measured, Metrics
from recbole_mm.serving.service.problems import handle_problems
from recbole_mm.serving.service.routes import items, recommend, search, state, users, writing

PAGE = Path(__file__).parent / "page"
mimetypes.add_type("text/javascript", ".js")  # on Windows, any program may have changed what it is


def create_app(recommender: Recommender, api_key: str | None = None) -> FastAPI:
    """The service over a recommender.

    Args:
        api_key: who sends it in the header ``X-API-Key`` may add and remove items; nobody may without one.
    """
    app = FastAPI(
        title="recbole_mm", version=recbole_mm.__version__, description=f"Recommendations by {recommender.scores.name}.",
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.recommender, app.state.api_key, app.state.metrics = recommender, api_key, Metrics()
    app.state.users = PartSearch(recommender.users)
    for part in (recommend, search, users, items, writing, state):
        app.include_router(part.router)
    app.mount("/page", StaticFiles(directory=PAGE, check_dir=False))
    app.add_api_route("/", lambda: FileResponse(PAGE / "index.html"), include_in_schema=False)
    handle_problems(app)
    app.add_middleware(BodyLimit, limits={("POST", "/search"): MAX_PICTURE, ("POST", "/items"): MAX_ROWS_BODY})
    app.add_middleware(SafeHeaders)
    app.add_middleware(Measured, metrics=app.state.metrics)
    return app
