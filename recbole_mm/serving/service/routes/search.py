"""Items like one, and items that fit words or a picture."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from recbole_mm.serving.service.answers import Answer, ranking_of
from recbole_mm.serving.service.bounds import MAX_TEXT, MAX_TOKEN
from recbole_mm.serving.service.pictures import read_picture
from recbole_mm.serving.service.problems import refusals
from recbole_mm.serving.service.shapes import K, PathItem, RankedItems

router = APIRouter(tags=["items"])
By = Annotated[str, Query(max_length=MAX_TOKEN, description="`model`, or a modality such as `image` or `text`")]
Text = Annotated[str, Query(max_length=MAX_TEXT, pattern=r"\S", description="what to look for, in words", examples=["red scarf"])]
PICTURE_BODY = {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/similar/{item:path}", response_model=RankedItems, responses=refusals(404, 422))
async def similar(request: Request, item: PathItem, k: K = 10, by: By = "model") -> Answer:
    """The items most like one: by the model, which knows who takes them, or by their pictures or texts."""
    recommender = request.app.state.recommender
    return ranking_of(recommender, recommender.similar(item, k, by))


@router.get("/search", response_model=RankedItems, responses=refusals(422))
def search(request: Request, text: Text, k: K = 10) -> Answer:
    """The items that fit a text."""
    recommender = request.app.state.recommender
    return ranking_of(recommender, recommender.search(text, k))


@router.post("/search", response_model=RankedItems, responses=refusals(413, 415, 422), openapi_extra={"requestBody": PICTURE_BODY})
async def search_by_picture(request: Request, k: K = 10) -> Answer:
    """The items that fit a picture, which is the body of the request."""
    if not request.headers.get("content-type", "").lower().startswith("image/"):
        raise HTTPException(415, "the body must be a picture, with a content type of image/*")
    recommender, data = request.app.state.recommender, await request.body()
    return await run_in_threadpool(lambda: ranking_of(recommender, recommender.search(read_picture(data), k)))
