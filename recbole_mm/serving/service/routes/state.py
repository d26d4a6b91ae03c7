"""What is served, and how it fares."""

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

import recbole_mm
from recbole_mm.serving.service.answers import Answer
from recbole_mm.serving.service.shapes import Health

router = APIRouter(tags=["state"])


@router.get("/health", response_model=Health)
async def health(request: Request) -> Answer:
    """What is served."""
    recommender, key = request.app.state.recommender, request.app.state.api_key
    encoder = recommender.manifest.get("with_encoder", True)
    about = {"model": recommender.scores.name, "dataset": recommender.manifest.get("dataset", ""), **recommender.counts()}
    return Answer({"status": "ok", "version": recbole_mm.__version__, **about, "encoder": encoder, "writing": bool(key)})


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Requests by route and status, and how long they took, as Prometheus reads them."""
    counted = request.app.state.metrics
    return Response(counted.text(), media_type=counted.content_type)
