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
        refusal, body = await self._read(scope["path"], headers, receive)
        if refusal is None and scope["method"] not in SAFE:
            refusal = _refuse(scope["path"], headers, body)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, path: str, headers: Mapping[str, str], receive: Receive) -> tuple[ProblemResponse | None, bytes]:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_body_bytes:
            return self._too_large(path), b""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        return self._too_large(path), b""
                    if not message.get("more_body", False):
                        return None, bytes(body)
        except TimeoutError:
            detail = f"the body did not arrive within {BODY_S:.0f} s"
            return problem(408, "too-slow", "The body came too slowly", detail, path, headers={"Connection": "close"}), b""

    def _too_large(self, path: str) -> ProblemResponse:
        detail = f"the body is larger than {self._max_body_bytes} bytes"
        return problem(413, "too-large", "The body is too large", detail, path, headers={"Connection": "close"})


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
