"""Spans on their way to a real HTTP server, read there with OpenTelemetry's own protobuf classes; and what happens when it is away."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.trace import TracerProvider

from monitoring import otlp
from tests.receiver import Receiver

Eventually = Callable[..., Any]


class Taker(Receiver):
    """Answers `code`."""

    code = 200

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.posts: list[tuple[str, Mapping[str, str], bytes]] = []

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.posts.append((path, headers, body))
        return self.code, b"{}"


class Lost:
    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def __call__(self, spans: int, reason: str) -> None:
        self.told.append((spans, reason))

    def of(self, reason: str) -> int:
        return sum(spans for spans, why in self.told if why == reason)


def official(body: bytes) -> trace_service_pb2.ExportTraceServiceRequest:
    """OTLP's JSON has ids in hexadecimal, where protobuf's own has base64. Unknown fields are an error."""
    document = json.loads(body)
    for span in (span for each in document["resourceSpans"] for scope in each["scopeSpans"] for span in scope["spans"]):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return json_format.ParseDict(document, trace_service_pb2.ExportTraceServiceRequest())


def test_spans_arrive_as_opentelemetry_defines_them() -> None:
    lost = Lost()
    with Taker().listening() as server:
        made = otlp.provider("slipway-test", otlp.Target(server.url, {"x-mlflow-experiment-id": "0"}), lost)
        tracer = made.get_tracer("slipway.test")
        about: dict[str, Any] = {"text": "ä", "whole": 2**40, "real": 0.5, "yes": True, "many": ("a", "b")}
        with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER, attributes=about) as outer:
            with tracer.start_as_current_span("inner") as inner:
                inner.add_event("sent", {"type": "cluster"})
            outer.set_status(trace.StatusCode.ERROR, "no")
        otlp.close(made, 10)
    ((path, headers, body),) = server.posts
    assert (path, headers["content-type"], headers["x-mlflow-experiment-id"]) == ("/v1/traces", "application/json", "0")
    (resource,) = official(body).resource_spans
    assert {each.key: each.value.string_value for each in resource.resource.attributes} == {"service.name": "slipway-test"}
    (scope,) = resource.scope_spans
    spans = {span.name: span for span in scope.spans}
    assert scope.scope.name == "slipway.test"
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["inner"].trace_id == spans["outer"].trace_id == outer.get_span_context().trace_id.to_bytes(16, "big")
    assert spans["outer"].parent_span_id == b""
    kinds = trace_service_pb2.ExportTraceServiceRequest.DESCRIPTOR.file.dependencies[0].message_types_by_name["Span"]
    assert kinds.enum_types_by_name["SpanKind"].values_by_number[spans["outer"].kind].name == "SPAN_KIND_SERVER"
    assert (spans["outer"].status.code, spans["outer"].status.message) == (2, "no")
    assert [event.name for event in spans["inner"].events] == ["sent"]
    assert spans["outer"].start_time_unix_nano <= spans["inner"].start_time_unix_nano < spans["inner"].end_time_unix_nano
    values = {each.key: each.value for each in spans["outer"].attributes}
    assert values["text"].string_value == "ä"
    assert (values["whole"].int_value, values["real"].double_value, values["yes"].bool_value) == (2**40, 0.5, True)
    assert [each.string_value for each in values["many"].array_value.values] == ["a", "b"]
    assert lost.told == []


def test_what_nobody_takes_is_counted_and_said_once(caplog: pytest.LogCaptureFixture, eventually: Eventually) -> None:
    caplog.set_level(logging.INFO)
    lost = Lost()
    with Taker().listening() as server:
        server.code = 503
        made = otlp.provider("slipway-test", otlp.Target(server.url, {}), lost)
        tracer = made.get_tracer("slipway.test")
        for round_ in range(1, 4):
            tracer.start_span("lost").end()
            made.force_flush()
            assert lost.of("refused") == round_
        server.code = 200
        tracer.start_span("kept").end()
        made.force_flush()
        port = server.server_port
    tracer.start_span("lost again").end()  # nobody listens any more
    made.force_flush()
    assert lost.told == [(1, "refused")] * 4
    with Taker(port).listening() as server:
        tracer.start_span("back").end()
        eventually(lambda: made.force_flush() and server.posts, 10)
        otlp.close(made, 10)
    told = [record.getMessage().rpartition(f":{port} ")[2].partition(":")[0] for record in caplog.records]
    assert told == ["takes no spans", "takes spans again", "takes no spans", "takes spans again"]


def test_the_queue_is_bounded(eventually: Eventually) -> None:
    """Nothing is taken out while the one post hangs."""
    lost, hanging, go_on = Lost(), threading.Event(), threading.Event()

    class Hanging(otlp.Exporter):
        def _post(self, body: bytes) -> None:
            del body
            hanging.set()
            assert go_on.wait(20)

    exporter = Hanging(otlp.Target("http://127.0.0.1:9", {}), lost)
    queue = otlp.Queue(exporter, lost)
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(queue)
    tracer = made.get_tracer("slipway.test")
    for _ in range(otlp.WAITING + 100):
        tracer.start_span("one").end()
    assert hanging.wait(10)
    assert lost.of("queue") == 100
    go_on.set()
    eventually(lambda: exporter.done == otlp.WAITING, 10)
    tracer.start_span("there is room again").end()
    otlp.close(made, 10)
    assert (exporter.done, lost.of("queue")) == (otlp.WAITING + 1, 100)
