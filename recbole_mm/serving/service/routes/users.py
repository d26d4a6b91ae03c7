"""Users and what they have."""

from random import sample
from typing import Annotated

from fastapi import APIRouter, Query, Request

from recbole_mm.serving.service.answers import Answer, shown
from recbole_mm.serving.service.bounds import MAX_HISTORY
from recbole_mm.serving.service.problems import refusals
from recbole_mm.serving.service.shapes import Limit, Part, PathUser, UserFacts, Users

router = APIRouter(tags=["users"])
Drawn = Annotated[bool, Query(description="some users at random, whatever their tokens")]
Latest = Annotated[int, Query(ge=1, le=MAX_HISTORY, description="how many of the latest items")]


@router.get("/users", response_model=Users, responses=refusals(422))
async def find_users(request: Request, query: Part = "", limit: Limit = 20, random: Drawn = False) -> Answer:
    """Users by a part of their token, or some at random."""
    known = request.app.state.recommender.users
    rows = sample(range(len(known)), min(limit, len(known))) if random else request.app.state.users.find(query, limit)
    return Answer({"users": [known[row] for row in rows]})


@router.get("/users/{user:path}", response_model=UserFacts, responses=refusals(404, 422))
async def show_user(request: Request, user: PathUser, limit: Latest = 100) -> Answer:
    """A user and the items that the user has in any part of the data, the oldest first."""
    recommender = request.app.state.recommender
    catalogue, history = recommender.catalogue, recommender.history(user)
    return Answer({"user": user, "history": [shown(catalogue, item) for item in history[-limit:]]})
