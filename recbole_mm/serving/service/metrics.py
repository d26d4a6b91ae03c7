"""Requests counted and timed, for Prometheus."""

import os
from time import perf_counter

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus_client knows, when it is imported, the folder that several processes count in."""
METHODS = {"GET", "POST", "DELETE"}
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def shared_by_workers(folder: str) -> None:
    """Lets all processes that start from now on count together, in files of a folder."""
    os.environ[SHARED] = folder


class Metrics:
    """The metrics of an app."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._requests = Counter("recbole_mm_requests", "Requests by route and status.", ["method", "route", "status"], registry=self._own)
        self._seconds = Histogram("recbole_mm_request_seconds", "How long requests take.", ["route"], registry=self._own, buckets=BUCKETS)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of them as Prometheus reads them, of all workers together."""
        if SHARED not in os.environ:
            return generate_latest(self._own)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)


class Measured:
    """Counts and times every request of an app. Routes and methods that there are not count as ``none`` and
    ``other``, so that nobody outside makes names."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, began = 500, perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path_format", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.count(method, route, status, perf_counter() - began)
