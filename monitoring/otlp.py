"""Spans to whoever takes OTLP over HTTP (a collector, Tempo, MLflow), as JSON. Nothing waits for it: what cannot be sent is dropped and counted.

The control plane and the bento have the same copy of this file, since a bento imports nothing of the other rooms; a test compares them. It
is JSON because the protobuf classes of OpenTelemetry and those of Envoy come in packages that overwrite each other.
"""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

LOG = logging.getLogger("bentoml.slipway.otlp")  # below "bentoml", whose handlers a bento sets up
PATH = "/v1/traces"  # OTLP's own, below the endpoint
POST_S = 5.0
WAITING = 2048  # spans, those that are being sent included
POST = 512  # spans in one post
EVERY_MS = 1000.0

# How many spans were lost, and why: "queue" (too many were waiting) or "refused" (nobody took them).
Lost = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where spans go. `endpoint`: http://host:port, to which the path of OTLP is added. Raises ValueError for anything else."""

    endpoint: str
    headers: Mapping[str, str]

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(
                f"an OTLP endpoint is http://host:port, not {self.endpoint!r}; for https put a collector beside it"
            )


def parse_headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, as OpenTelemetry's own variables have it: values may be percent-encoded. Raises ValueError."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    headers = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
    for name, value in headers.items():
        if not name or not value or not name.replace("-", "").replace("_", "").isalnum() or not value.isprintable():
            raise ValueError("headers are name=value,name=value")  # without saying them: a key may be among them
    return headers


class Exporter(SpanExporter):
    """Posts batches, in the thread of the queue. A batch that is not taken is not sent again: the next one is waiting."""

    def __init__(self, target: Target, lost: Lost) -> None:
        self._target = target
        self._lost = lost
        self._failing = False
        self.done = 0  # spans sent or lost

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            self._post(orjson.dumps(document(spans)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._lost(len(spans), "refused")
            if not self._failing:
                LOG.warning("%s takes no spans: %s; they are dropped until it does", self._target.endpoint, error)
            self._failing = True
            return SpanExportResult.FAILURE
        finally:
            self.done += len(spans)
        if self._failing:
            LOG.warning("%s takes spans again", self._target.endpoint)
        self._failing = False
        return SpanExportResult.SUCCESS

    def _post(self, body: bytes) -> None:
        parts = urlsplit(self._target.endpoint)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=POST_S)
        try:
            headers = {**self._target.headers, "content-type": "application/json"}
            connection.request("POST", parts.path.rstrip("/") + PATH, body, headers)
            answer = connection.getresponse()
            words = answer.read(1000)
            if answer.status >= http.HTTPStatus.MULTIPLE_CHOICES:
                raise ValueError(f"HTTP {answer.status}: {words[:200].decode('utf-8', 'replace')}")
        finally:
            connection.close()


class Queue(BatchSpanProcessor):
    """Bounded: a span that finds it full is lost, so memory and the process go on as they are."""

    def __init__(self, exporter: Exporter, lost: Lost) -> None:
        # twice what may wait here, so that the limit is ours and is counted
        super().__init__(exporter, 2 * WAITING, schedule_delay_millis=EVERY_MS, max_export_batch_size=POST)
        self._sender = exporter
        self._dropped = lost
        self._taken = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._taken - self._sender.done >= WAITING:
            self._dropped(1, "queue")
            return
        self._taken += 1
        super().on_end(span)


def provider(service: str, target: Target, lost: Lost) -> TracerProvider:
    """Keeps every span that is begun: whether a request is traced was decided before, at the gateway. Begins a thread."""
    made = TracerProvider(resource=resource(service), shutdown_on_exit=False)
    made.add_span_processor(queue(target, lost))
    return made


def queue(target: Target, lost: Lost) -> Queue:
    """For spans that are made otherwise. Begins a thread."""
    return Queue(Exporter(target, lost), lost)


def resource(service: str) -> Resource:
    return Resource({"service.name": service})


def close(made: TracerProvider | SpanProcessor, limit_s: float) -> None:
    """Send what is waiting, for so long at most; whoever takes no spans keeps nobody from ending."""
    sending = threading.Thread(target=made.shutdown, name="last spans", daemon=True)
    sending.start()
    sending.join(limit_s)


def document(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """OTLP's ExportTraceServiceRequest in JSON; the spans are of one provider."""
    whose = spans[0].resource.attributes
    scopes: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        scopes.setdefault(span.instrumentation_scope.name if span.instrumentation_scope else "", []).append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(whose)},
                "scopeSpans": [{"scope": {"name": name}, "spans": found} for name, found in scopes.items()],
            }
        ]
    }


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.context
    made: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "events": [
            {"timeUnixNano": str(event.timestamp), "name": event.name, "attributes": _attributes(event.attributes or {})}
            for event in span.events
        ],
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
    }
    if span.parent is not None:
        made["parentSpanId"] = f"{span.parent.span_id:016x}"
    return made


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}
