"""Recommendations for users and for anybody with a history."""

from fastapi import APIRouter, Request

from recbole_mm.serving.service.answers import Answer, ranking, ranking_of
from recbole_mm.serving.service.problems import refusals
from recbole_mm.serving.service.shapes import History, K, PathUser, RankedItems

router = APIRouter(tags=["recommendations"])


@router.get("/recommend/{user:path}", response_model=RankedItems, responses=refusals(404, 422))
async def recommend(request: Request, user: PathUser, k: K = 10, exclude_seen: bool = True) -> Answer:
    """The best items for a user, without those that the user has."""
    recommender = request.app.state.recommender
    return ranking(recommender, recommender.top(user, k, exclude_seen))


@router.post("/recommend", response_model=RankedItems, responses=refusals(404, 413, 422))
async def recommend_for(request: Request, wanted: History) -> Answer:
    """The best items for anybody who has some items: new and anonymous users."""
    recommender = request.app.state.recommender
    table = recommender.recommend_for(wanted.history, wanted.k, wanted.exclude_seen, wanted.candidates, wanted.times)
    return ranking_of(recommender, table)
