"""Counts the requests to the API by the template of their route, and how long it took until their answer began.

An ASGI middleware around everything, so that refusals of the other middleware are counted too. A path that no route takes is counted
as such, whatever it was: a scan of a thousand paths makes one series. Must never change a request or an answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring import names

from .links import PREFIX

# method, route, code, seconds, trace id
Answered = Callable[[str, str, int, float, str | None], None]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAMPLED = re.compile(rb"[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f][13579bdf]")  # W3C trace context


class Metering:
    def __init__(self, app: ASGIApp, answered: Answered, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._answered = answered
        self._clock_s = clock_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock_s()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._answered(method, _route(scope), message["status"], self._clock_s() - began, _trace_id(scope))
            await send(message)

        await self._app(scope, receive, sending)


def _route(scope: Scope) -> str:
    """The template, which the router leaves in the scope; FastAPI leaves it with the prefix or without, depending on its version."""
    template: str | None = getattr(scope.get("route"), "path", None)
    if template is None:
        return names.UNMATCHED
    return PREFIX + template if scope["path"].startswith(PREFIX) and not template.startswith(PREFIX) else template


def _trace_id(scope: Scope) -> str | None:
    """Of a caller that samples this trace: only such a trace can be looked up."""
    for name, value in scope["headers"]:
        if name == b"traceparent" and (found := _SAMPLED.fullmatch(value)):
            return str(found["trace"].decode())
    return None
