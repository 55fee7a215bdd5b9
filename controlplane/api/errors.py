"""One table from what can go wrong to RFC 9457 problem details. HTTP status codes of errors live here and nowhere else.

Installed by `app`. Says what is wrong and what to do; never shows a stack trace, an echo of the input, or a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from controlplane import broadcast
from judge import policy
from rollout import commands, model, ports

from . import schemas
from .links import rollout_link

RETRY_AFTER_S = 2  # seconds; the loop and the adapters look again about every second

Fields = Sequence[tuple[str, str]]


class Unprocessable(Exception):
    """The request is well-formed but cannot be carried out as it is; `field` names what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Conflict(Exception):
    """It collides with how things are now."""


# the first row that fits: what was raised, status, last word of `type`, title
_TABLE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (ports.NotFound, 404, "not-found", "There is no such thing"),
    (ports.Unavailable, 503, "unavailable", "A part that is needed does not answer"),
    (ports.Refused, 409, "refused", "A part that is needed refuses"),
    (ports.AlreadyOpen, 409, "already-open", "The model has an open rollout"),
    (ports.Stale, 409, "changed-meanwhile", "It was changed by others again and again"),
    (commands.NotNow, 409, "not-now", "This makes no sense in this phase"),
    (Conflict, 409, "conflict", "It collides with how things are now"),
    (Unprocessable, 422, "invalid", "The request is not valid"),
    (model.Invalid, 422, "invalid", "The request is not valid"),
    (policy.InvalidPolicy, 422, "invalid", "The request is not valid"),
    (broadcast.TooMany, 503, "too-many-watchers", "Too many are watching already"),
)

# pydantic's words where ours tell more
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "unknown key; see /api/v1/docs for the known ones",
    "unexpected_keyword_argument": "unknown key; see /api/v1/docs for the known ones",
}


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """ASCII only: a name that is no valid Unicode must not break the report about it."""
        return json.dumps(content).encode("ascii")


def problem(
    status: int,
    kind: str,
    title: str,
    detail: str,
    instance: str,
    *,
    errors: Fields = (),
    links: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    content = {
        "type": f"urn:slipway:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "errors": [{"field": field, "message": message} for field, message in errors],
        "links": dict(links or {}),
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_AFTER_S), **(headers or {})}
    return ProblemResponse(content, status, headers)


def install(app: FastAPI) -> None:
    for kind, *_ in _TABLE:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: which problems it may answer with."""
    return {status: {"model": schemas.Problem, "description": HTTPStatus(status).phrase} for status in statuses}


async def _known(request: Request, error: Exception) -> ProblemResponse:
    status, kind, title = next(row[1:] for row in _TABLE if isinstance(error, row[0]))
    detail = str(error)
    errors: Fields = ()
    links: dict[str, str] = {}
    if isinstance(error, ports.PortError):
        detail = f"{error.system}: {error}"
    if isinstance(error, Unprocessable | model.Invalid):
        detail, errors = f"{error.field}: {error}", ((error.field, str(error)),)
    if isinstance(error, ports.AlreadyOpen):
        detail = f"{error}; watch it, or abort it first"
        links = {"rollout": rollout_link(error.rollout_id)}
    if isinstance(error, ports.Stale):
        detail = "others changed it at the same time, five times in a row; nothing was written, try again"
    return problem(status, kind, title, detail, request.url.path, errors=errors, links=links)


async def _invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        detail = f"not valid JSON at character {first['loc'][-1]}: {first['ctx']['error']}"
        return problem(400, "malformed", "The body is not JSON", detail, request.url.path)
    fields = [(_field(each["loc"]), _message(each)) for each in error.errors()]
    detail = "; ".join(f"{field}: {message}" for field, message in fields[:5])
    return problem(422, "invalid", "The request is not valid", detail, request.url.path, errors=fields[:50])


async def _http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this address; see /api/v1/docs"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible here; see /api/v1/docs"
    kind = phrase.lower().replace(" ", "-")
    return problem(error.status_code, kind, phrase, detail, request.url.path, headers=error.headers)


async def _unknown(request: Request, _: Exception) -> ProblemResponse:
    """A defect of ours. The server logs the stack trace; the caller must not see it."""
    detail = "a defect in the control plane; its log has the details, and nothing half-done was stored"
    return problem(500, "internal", "Internal error", detail, request.url.path)


def _field(loc: Sequence[str | int]) -> str:
    place = loc[1:] if loc[0] == "body" else loc
    return ".".join(map(str, place)) or "body"


def _message(error: Mapping[str, Any]) -> str:
    message = _WORDS.get(error["type"]) or str(error["msg"])
    return message.removeprefix("Value error, ")
