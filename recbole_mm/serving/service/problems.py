"""Whatever is refused is a JSON object with one line, ``detail``."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from recbole_mm.errors import InputError, UnknownToken, one_line
from recbole_mm.serving.journal import JournalError
from recbole_mm.serving.service.answers import Answer

LONGEST = 500


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


STATUSES = {
    401: "the API key is missing or wrong",
    403: "writing is off, because the service was started without an API key",
    404: "an unknown user or item",
    413: "the body is too long",
    415: "the body is no picture",
    422: "something in the request cannot be used",
    503: "the exported folder cannot be written or has been changed",
}


def refusals(*statuses: int) -> dict[int, dict]:
    """What the OpenAPI says of a route's refusals."""
    return {status: {"model": Problem, "description": STATUSES[status]} for status in statuses}


def refusal(status: int, detail: str, headers=None) -> Answer:
    """The answer to a request that is refused."""
    return Answer({"detail": detail}, status, headers)


def handle_problems(app: FastAPI) -> None:
    """Makes refusals of whatever the routes raise."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnknownToken, _told(404))
    app.add_exception_handler(JournalError, _told(503))
    app.add_exception_handler(InputError, _told(422))
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(Exception, _unforeseen)


def _told(status: int):
    async def handler(_: Request, error: Exception) -> Answer:
        return refusal(status, one_line(error, LONGEST))

    return handler


async def _http(_: Request, error: HTTPException) -> Answer:
    """FastAPI says 400 of bodies that are no JSON in ways which it does not foresee."""
    return refusal(422 if error.status_code == 400 else error.status_code, one_line(error.detail, LONGEST), error.headers)


async def _invalid(_: Request, error: RequestValidationError) -> Answer:
    first, *others = error.errors()
    place = ".".join(str(part) for part in first["loc"][1:] or first["loc"])
    more = f" (and {len(others)} more)" if others else ""
    return refusal(422, one_line(f"{place}: {first['msg']}{more}", LONGEST))


async def _disk(_: Request, error: OSError) -> Answer:
    return refusal(503, f"the exported folder cannot be used: {error.strerror or one_line(error)}")


async def _unforeseen(_: Request, error: Exception) -> Answer:
    logging.getLogger("recbole_mm").error("a request failed", exc_info=error)
    return refusal(500, "the service failed; its log says where")
