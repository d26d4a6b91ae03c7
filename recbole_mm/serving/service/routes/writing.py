"""Items added and removed, by whoever has the API key."""

from fastapi import APIRouter, Request

from recbole_mm.serving.service.answers import Answer
from recbole_mm.serving.service.auth import WritingRoute, in_documentation
from recbole_mm.serving.service.new_rows import checked_rows
from recbole_mm.serving.service.problems import refusals
from recbole_mm.serving.service.shapes import AddedItems, NewItems, PathItem, RemovedItems

router = APIRouter(tags=["writing"], route_class=WritingRoute, dependencies=[in_documentation])


@router.post("/items", response_model=AddedItems, responses=refusals(401, 403, 413, 422, 503))
def add_items(request: Request, new: NewItems) -> Answer:
    """Adds items that the model was not trained with, or updates those of the same tokens: all of them or, where one cannot be, none.
    They are on the disk before this is answered, and every worker ranks them from then on."""
    recommender = request.app.state.recommender
    return Answer({"added": recommender.add_items(checked_rows(recommender, new.rows))})


@router.delete("/items/{item:path}", response_model=RemovedItems, responses=refusals(401, 403, 404, 422, 503))
def remove_item(request: Request, item: PathItem) -> Answer:
    """Takes an item out of all recommendations, searches and neighbours."""
    request.app.state.recommender.remove_items([item])
    return Answer({"removed": item})
