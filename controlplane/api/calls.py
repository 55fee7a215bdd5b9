"""Gives every request an id, which its answer and all log lines about it carry, and writes down the requests that may change something.

The outermost ASGI middleware. A caller's own id and trace are kept if they are well-formed.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring import logs

from .guards import SAFE

REQUEST_ID = b"x-request-id"
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C trace context

log = logging.getLogger(__name__)


class Calls:
    def __init__(self, app: ASGIApp, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._clock_s = clock_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        own = given.get(REQUEST_ID, b"")
        request_id = own if _ID.fullmatch(own) else secrets.token_hex(16).encode()
        ids = {"request_id": request_id.decode()}
        if found := _TRACE.fullmatch(given.get(b"traceparent", b"")):
            ids["trace_id"] = found[1].decode()
        began = self._clock_s()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message.get("headers", ()) if pair[0] != REQUEST_ID]
                message = {**message, "headers": [*headers, (REQUEST_ID, request_id)]}
                if scope["method"] not in SAFE:
                    took_ms = round((self._clock_s() - began) * 1000, 3)
                    about = {"method": scope["method"], "path": scope["path"], "code": message["status"]}
                    log.info("%s %s %s", *about.values(), extra={**about, "duration_ms": took_ms})
            await send(message)

        token = logs.IDS.set(ids)
        try:
            await self._app(scope, receive, sending)
        finally:
            logs.IDS.reset(token)
