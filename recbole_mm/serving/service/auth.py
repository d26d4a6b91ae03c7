"""Who may write: whoever sends the service's API key."""

import hmac
import os
from pathlib import Path

from fastapi import Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException

from recbole_mm.errors import InputError

VARIABLE = "RECBOLE_MM_API_KEY"
HEADER = "X-API-Key"
in_documentation = Security(APIKeyHeader(name=HEADER, auto_error=False, description="the key that the service was started with"))


class WritingRoute(APIRoute):
    """A route that is refused before its body is read, unless the request has the key of ``app.state.api_key``."""

    def get_route_handler(self):
        handle = super().get_route_handler()

        async def guarded(request: Request):
            _check(request)
            return await handle(request)

        return guarded


def _check(request: Request) -> None:
    wanted, given = request.app.state.api_key, request.headers.get(HEADER)
    if not wanted:
        raise HTTPException(403, "writing is off: start the service with an API key to add and remove items")
    if given is None:
        raise HTTPException(401, f"the header {HEADER} is missing")
    if not hmac.compare_digest(given.encode("latin-1"), wanted.encode()):
        raise HTTPException(401, f"the header {HEADER} has a wrong key")


def api_key(file: str | None) -> str | None:
    """The key in a file, or in the environment variable ``RECBOLE_MM_API_KEY``; None without one.

    Raises:
        InputError: the file is empty or not text.
        OSError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        key = Path(file).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8") from error
    if not key or "\n" in key:
        raise InputError(f"{file} must hold the API key, on one line")
    return key
