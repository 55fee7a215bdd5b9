"""Spans of one request that the gateway chose to trace: the server's part, the wait in line, the batch, and the model's call in it.

Used by `app.App`. Whether to trace was decided at the gateway and is the last digit of `traceparent` (W3C trace context); nothing is decided here.
A request that is not traced pays for looking at that digit. Of one that is, times are noted on the way and spans are made after its answer.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor

    from . import otlp

SERVICE = "slipway-bento"
FLUSH_S = 2.0
LENGTH = 55  # of the header's first version
_ODD = b"13579bdf"  # the last hexadecimal digit of the flags: its lowest bit says `sampled`
_PARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


@dataclass(slots=True)
class Trace:
    """What is noted of one request while it is answered. Times are `time.perf_counter()`; 0.0: it did not come so far."""

    trace_id: int
    parent_id: int
    queued: float = 0.0
    taken: float = 0.0  # by the worker thread, with the batch
    batched: float = 0.0  # the batch is done
    called: float = 0.0
    answered: float = 0.0  # by the model
    batch_requests: int = 0
    batch_rows: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked and answered. Times as in Trace; `problem`: its kind, if it is one."""

    method: str
    path: str
    status: int
    problem: str
    request_id: str
    began: float
    ended: float


def begin(traceparent: bytes | None) -> Trace | None:
    """None: the request is not traced, or the header is none of W3C's."""
    if traceparent is None or len(traceparent) < LENGTH or traceparent[LENGTH - 1] not in _ODD:
        return None
    found = _parsed(traceparent)
    return Trace(int(found[1], 16), int(found[2], 16)) if found is not None else None


def trace_id(traceparent: bytes | None) -> str:
    """For a log line, traced or not; "" if there is none."""
    found = _parsed(traceparent or b"")
    return found[1].decode() if found is not None else ""


def _parsed(traceparent: bytes) -> re.Match[bytes] | None:
    """Later versions of the header may be longer; version ff is forbidden."""
    found = _PARENT.fullmatch(traceparent)
    if found is None or traceparent[:2] == b"ff" or (traceparent[:2] == b"00" and len(traceparent) > LENGTH):
        return None
    return found


class Tracer:
    """Of one process. Its thread begins with the first request that is traced."""

    def __init__(self, target: otlp.Target, lost: otlp.Lost, attributes: Mapping[str, str]) -> None:
        self._target = target
        self._lost = lost
        self._attributes = dict(attributes)
        self._queue: SpanProcessor | None = None
        self._resource: Resource | None = None

    def end(self, trace: Trace, answer: Answer) -> None:
        """Make the spans, all at once, and hand them to the queue. They are over already, so they are made as what is read of a span: the SDK's own
        tracer, made for what is still under way, takes almost three times as long."""
        from opentelemetry import trace as api  # noqa: PLC0415 - a server that traces nothing loads none of it
        from opentelemetry.sdk import trace as sdk  # noqa: PLC0415

        from . import otlp  # noqa: PLC0415

        if self._queue is None:
            self._queue, self._resource = otlp.queue(self._target, self._lost), otlp.resource(SERVICE)
        queue, resource = self._queue, self._resource
        sampled, shift_ns = api.TraceFlags(api.TraceFlags.SAMPLED), time.time_ns() - time.perf_counter_ns()

        def span(
            name: str, parent: api.SpanContext, since: float, until: float, own: Mapping[str, int | str], **more: Any
        ) -> api.SpanContext:
            context = api.SpanContext(trace.trace_id, secrets.randbits(64) or 1, is_remote=False, trace_flags=sampled)
            times = {"start_time": round(since * 1e9) + shift_ns, "end_time": round(until * 1e9) + shift_ns}
            attributes = {**self._attributes, **own}
            queue.on_end(sdk.ReadableSpan(name, context, parent, resource, attributes, **times, **more))
            return context

        gateway = api.SpanContext(trace.trace_id, trace.parent_id, is_remote=True, trace_flags=sampled)
        about = {
            "http.request.method": answer.method,
            "url.path": answer.path,
            "http.response.status_code": answer.status,
            "request_id": answer.request_id,
            "rows": trace.rows,
        }
        status = sdk.Status(api.StatusCode.ERROR, answer.problem) if answer.status >= 500 else sdk.Status(api.StatusCode.UNSET)
        kind = api.SpanKind.SERVER
        server = span(answer.path[1:], gateway, answer.began, answer.ended, about, kind=kind, status=status)
        if trace.taken:
            span("queue", server, trace.queued, trace.taken, {})
            size = {"batch_requests": trace.batch_requests, "batch_rows": trace.batch_rows}
            batch = span("batch", server, trace.taken, trace.batched, size)
            span("inference", batch, trace.called, trace.answered, {})

    def close(self) -> None:
        """Send what is waiting."""
        if self._queue is not None:
            from . import otlp  # noqa: PLC0415 - as above

            otlp.close(self._queue, FLUSH_S)
