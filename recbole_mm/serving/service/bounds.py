"""How much the service takes from outside, and what holds it to that."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_K = 1000
MAX_LIMIT = 100
"""Users or items in one list of a search by a part of their names."""
MAX_TOKEN = 200
MAX_TEXT = 1000
MAX_HISTORY = 1000
MAX_CANDIDATES = 10_000
MAX_ROWS = 100
MAX_CELL = 20_000
"""Characters of a text of a new item."""
MAX_PICTURE = 10 * 2**20
MAX_PIXELS = 40_000_000
MAX_BODY = 2**20
"""Bytes of a body that is neither a picture nor new items."""
MAX_ROWS_BODY = 2 * MAX_PICTURE


class BodyLimit:
    """Stops reading a body that is longer than its route takes, whatever length its head says, and answers with status 413.

    Args:
        app: what reads the bodies.
        limits: bytes by method and path; all others get ``MAX_BODY``.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[tuple[str, str], int]) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "GET":
            receive = self._bounded(receive, self.limits.get((scope["method"], scope["path"]), MAX_BODY), _announced(scope))
        await self.app(scope, receive, send)

    @staticmethod
    def _bounded(receive: Receive, limit: int, announced: int) -> Receive:
        taken = 0

        async def bounded():
            nonlocal taken
            if announced <= limit:
                message = await receive()
                taken += len(message.get("body", b""))
            if max(taken, announced) > limit:
                raise HTTPException(413, f"the body is longer than {limit} bytes", {"Connection": "close"})
            return message

        return bounded


def _announced(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
