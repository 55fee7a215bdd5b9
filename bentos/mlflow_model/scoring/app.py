"""The outermost ASGI app of a bento: /predict, /invocations and /schema; everything else is BentoML's.

Called by uvicorn for every request, so the way to the model is short: read with a limit, parse, check, call, answer. The model runs
in a worker thread (`batching`), so health checks answer while it works. Input never leads to a 500: only the model's own exception does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from . import answers, batching, prediction_log, predictor, problem, signature, tracing

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[bytes, bytes]  # of a request, by lower-case name
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("bentoml.slipway")  # below "bentoml", whose handlers are set up
ROUTES = {"/predict": "POST", "/invocations": "POST", "/schema": "GET"}
WRITE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Limits:
    body_bytes: int = 8 * 1024 * 1024
    rows: int = signature.MAX_ROWS
    deadline_s: float = 10.0  # from the last byte of the request to the answer
    waiting: int = 256  # requests in line for the model; more are refused at once


@dataclass(frozen=True, slots=True)
class Identity:
    """What this server serves; said in every answer."""

    model: str
    version: str


class App:
    """Wraps BentoML's app. Answers 503 until `serve` was given the loaded model. counted: is given every answer, as `metrics.Answered`.
    split: hears of every answer to a request that came along a gateway's split, with its epoch."""

    def __init__(
        self,
        inner: ASGI,
        identity: Identity,
        limits: Limits,
        counted: Callable[[tuple[int, float, int, float]], None],
        called: batching.Called = lambda *_: None,
        *,
        tracer: tracing.Tracer | None = None,
        before_scrape: Callable[[], None] = lambda: None,
        log: prediction_log.PredictionLog | None = None,
        split: Callable[[bytes, Any], None] = lambda *_: None,
    ) -> None:
        self._inner = inner
        self._limits = limits
        self._counted = counted
        self._called = called
        self._tracer = tracer
        self._before_scrape = before_scrape
        self._log = log
        self._split = split
        self._predictor: predictor.Predictor | None = None
        self._batcher: batching.Batcher | None = None
        self._waiting = 0
        self._headers = [
            (b"x-model", identity.model.encode("latin-1", "replace")),
            (b"x-model-version", identity.version.encode("latin-1", "replace")),
        ]

    def serve(self, loaded: predictor.Predictor) -> None:
        if self._log is not None:
            self._log.serve(loaded.schema)
        self._predictor, self._batcher = loaded, batching.Batcher(loaded, self._called)

    def close(self) -> None:
        """Send the spans and write the predictions that are waiting."""
        if self._log is not None:
            self._log.close()
        if self._tracer is not None:
            self._tracer.close()

    @property
    def responsive(self) -> bool:
        """False while one call of the model has been running for longer than the deadline."""
        return self._batcher is None or self._batcher.busy_s() <= self._limits.deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in ROUTES:
            await self._pass_on(scope, receive, send)
            return
        began = time.perf_counter()
        given: Headers = dict(scope["headers"])
        request_id = _request_id(given)
        trace = tracing.begin(given.get(b"traceparent")) if self._tracer is not None else None
        media, kind = b"application/json", ""
        extra: list[tuple[bytes, bytes]] = []
        try:
            status, body = 200, await self._answer(scope, given, receive, trace)
        except problem.Problem as wrong:
            status, body, media = wrong.status, wrong.body(request_id.decode("latin-1")), b"application/problem+json"
            kind = wrong.kind
            if wrong.kind == "method-not-allowed":
                extra.append((b"allow", ROUTES[scope["path"]].encode()))
            elif wrong.kind == "overloaded":
                extra.append((b"retry-after", b"1"))
            elif wrong.kind == "body-too-large":
                extra.append((b"connection", b"close"))  # the rest of the body is not read
            elif wrong.kind == "model-error":
                _log_model_error(wrong, request_id, given)
        except _Disconnected:
            return
        headers = [(b"content-type", media), (b"content-length", str(len(body)).encode()), *self._headers, *extra]
        if request_id:
            headers.append((b"x-request-id", request_id))
        ended = time.perf_counter()
        self._counted((status, ended - began, trace.trace_id if trace is not None else 0, ended))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if trace is not None and self._tracer is not None:
            said = (scope["method"], scope["path"], status, kind, request_id.decode("latin-1"))
            self._tracer.end(trace, tracing.Answer(*said, began, ended))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/metrics":
            self._before_scrape()
        await self._inner(scope, receive, send)

    async def _answer(self, scope: Scope, given: Headers, receive: Receive, trace: tracing.Trace | None) -> bytes:
        if scope["method"] != ROUTES[scope["path"]]:
            raise problem.Problem("method-not-allowed", f"use {ROUTES[scope['path']]} {scope['path']}")
        loaded, batcher = self._predictor, self._batcher
        if loaded is None or batcher is None:
            raise problem.Problem("overloaded", "the model is still being loaded; try again")
        if scope["path"] == "/schema":
            return orjson.dumps({**loaded.schema.raw, "example": loaded.example})
        _check_content_type(given)
        raw = await _read(given, receive, self._limits.body_bytes)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise problem.Problem("malformed-json", f"{error}; NaN and Infinity are not JSON, send null") from None
        data, params = signature.check(loaded.schema, body, self._limits.rows)
        taken = None
        if self._log is not None:
            taken = self._log.take(given, _request_id(given).decode(), len(raw), data)
        answer, written = await self._predict(batcher, data, params, trace)
        if taken is not None and self._log is not None:
            self._log.add(taken, answer)
        if (epoch := given.get(answers.EPOCH_HEADER)) is not None:
            self._split(epoch, answer)
        return written

    async def _predict(
        self, batcher: batching.Batcher, data: signature.Input, params: dict[str, Any], trace: tracing.Trace | None
    ) -> tuple[Any, bytes]:
        """The model's answer, and the body that says it. A TimeoutError of the model's own must not look like ours, so only the waiting itself is timed."""
        if self._waiting >= self._limits.waiting:
            raise problem.Problem("overloaded", f"{self._waiting} requests are waiting for the model; try again later")
        self._waiting += 1
        try:
            answering = asyncio.ensure_future(batcher.predict(data, params, trace))
            if not (await asyncio.wait({answering}, timeout=self._limits.deadline_s))[0]:
                answering.cancel()
                detail = f"the model did not answer within {self._limits.deadline_s:g} s; send fewer rows or try again"
                raise problem.Problem("deadline-exceeded", detail)
        finally:
            self._waiting -= 1
        try:
            answer = answering.result()
            return answer, orjson.dumps({"predictions": answer}, option=WRITE)
        except Exception as error:
            detail = f"the model raised {type(error).__name__}; the server's log has the details under the request id"
            raise problem.Problem("model-error", detail) from error


class _Disconnected(Exception):
    """The client went away while sending."""


def _log_model_error(wrong: problem.Problem, request_id: bytes, given: Headers) -> None:
    ids = {"request_id": request_id.decode("latin-1"), "trace_id": tracing.trace_id(given.get(b"traceparent"))}
    LOG.error("the model failed on a request", extra=ids, exc_info=wrong.__cause__)


def _request_id(given: Headers) -> bytes:
    """As given by the client, if it may stand in a header and a log line."""
    found = given.get(b"x-request-id", b"")
    return found if len(found) <= 128 and found.isascii() and found.decode().isprintable() else b""


def _check_content_type(given: Headers) -> None:
    media = given.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if media != b"application/json" and not (media.startswith(b"application/") and media.endswith(b"+json")):
        named = media.decode("latin-1") or "nothing"
        raise problem.Problem("unsupported-media-type", f"send content-type: application/json, not {named}")


async def _read(given: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body; refused as soon as it is known to be too large, before the rest is read."""
    announced = given.get(b"content-length", b"0")
    too_large = problem.Problem("body-too-large", f"send at most {limit} bytes; split the rows over several requests")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
