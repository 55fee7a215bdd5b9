"""What is refused before any route sees it: bodies that are too large, too slow or not JSON, and foreign web pages.

An ASGI middleware around the whole app. It reads the body, bounded, and hands it on; it must never look inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ProblemResponse, problem

BODY_S = 30.0  # to send a whole body; a caller that takes longer holds a connection for nothing
PATIENCE = 32  # times the limit is what is read of a body that is too large before the connection is cut
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Guards:
    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._read(headers, receive)
        except TimeoutError:
            detail = f"the body did not arrive within {BODY_S:.0f} s"
            refusal = problem(408, "too-slow", "The body came too slowly", detail, path, headers={"Connection": "close"})
        except _TooLarge:
            detail = f"the body is larger than {self._max_body_bytes} bytes"
            refusal = problem(413, "too-large", "The body is too large", detail, path, headers={"Connection": "close"})
        except _Gone:
            return
        else:
            unfit = None if scope["method"] in SAFE else _refuse(path, headers, body)
            if unfit is None:
                await self._app(scope, _replay(body, receive), send)
                return
            refusal = unfit
        await refusal(scope, receive, send)

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The whole body. A body that is too large is still read for a while and thrown away: most callers look for an answer
        only after they have sent everything, and would see a broken connection instead."""
        declared = headers.get("content-length", "")
        size = int(declared[:20]) if declared.isdecimal() else 0
        if size > PATIENCE * self._max_body_bytes or (size > self._max_body_bytes and "expect" in headers):
            raise _TooLarge  # not asked to go on yet, or hopeless
        body, size, more = bytearray(), 0, True
        while more and size <= PATIENCE * self._max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self._max_body_bytes:
                body += chunk
            more = message.get("more_body", False)
        if size > self._max_body_bytes:
            raise _TooLarge
        return bytes(body)


class _TooLarge(Exception):
    pass


class _Gone(Exception):
    """The caller went away before the body was complete: half a wish is no wish."""


def _refuse(path: str, headers: Mapping[str, str], body: bytes) -> ProblemResponse | None:
    if headers.get("sec-fetch-site") == "cross-site":  # set by browsers alone: another site's page is at work
        detail = "a web page of another site may not change anything here"
        return problem(403, "cross-site", "Forbidden", detail, path)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        detail = f"the body is {kind or 'of no stated type'}; send JSON with the header Content-Type: application/json"
        return problem(415, "not-json", "The body is not JSON", detail, path)
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body out once, then whatever comes (the caller's going away)."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
