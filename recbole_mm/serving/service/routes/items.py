"""Items: found, shown, added and removed."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from recbole_mm.errors import UnknownToken
from recbole_mm.serving.service.answers import Answer, shown
from recbole_mm.serving.service.problems import refusals
from recbole_mm.serving.service.shapes import ItemFacts, Items, Limit, Part, PathItem

router = APIRouter(tags=["items"])
KEPT = {"Cache-Control": "public, max-age=3600"}


@router.get("/items", response_model=Items, responses=refusals(422))
async def find_items(request: Request, query: Part = "", limit: Limit = 20) -> Answer:
    """Items by a part of their token or title."""
    catalogue = request.app.state.recommender.catalogue
    return Answer({"items": [shown(catalogue, item) for item in catalogue.search(query, limit)]})


@router.get(
    "/items/{item:path}/picture",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}, "description": "a small JPEG"},
        **refusals(404, 422),
    },
)
def picture(request: Request, item: PathItem) -> Response:
    """The picture of an item, of at most 256 pixels on the longer side."""
    recommender = request.app.state.recommender
    found = recommender.catalogue.thumbnail(item)
    if found is None:
        raise HTTPException(404, f"no picture of '{item}'")
    return Response(found, media_type="image/jpeg", headers=KEPT)


@router.get("/items/{item:path}", response_model=ItemFacts, responses=refusals(404, 422))
async def show_item(request: Request, item: PathItem) -> Answer:
    """An item, and what it can be compared by."""
    recommender = request.app.state.recommender
    if item not in recommender:
        raise UnknownToken(f"unknown item '{item}'")
    return Answer({**shown(recommender.catalogue, item), "modalities": recommender.modalities})
