"""Spans of a request: which header asks for them, what they say, and that nobody else pays for them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bentos.mlflow_model.scoring import app, otlp, predictor, signature, tracing

SIGNATURE = signature.parse({"inputs": json.dumps([{"type": "double", "name": "x", "required": True}])})
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("header", "traced"),
    [
        (SAMPLED, True),
        (f"00-{TRACE}-{PARENT}-03", True),
        (f"01-{TRACE}-{PARENT}-01-later", True),  # a later version may say more
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-02", False),
        (f"00-{TRACE}-{PARENT}-01-later", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        (f"00-{TRACE}-{PARENT}", False),
        ("", False),
        ("1" * 55, False),
        ("é" * 55, False),
    ],
)
def test_only_a_whole_header_that_says_so_is_followed(header: str, traced: bool) -> None:
    found = tracing.begin(header.encode("latin-1"))
    assert (found is not None) == traced
    if found is not None:
        assert (f"{found.trace_id:032x}", f"{found.parent_id:016x}") == (TRACE, PARENT)


def test_a_log_line_names_the_trace_sampled_or_not() -> None:
    assert tracing.trace_id(f"00-{TRACE}-{PARENT}-00".encode()) == TRACE
    assert tracing.trace_id(b"garbage") == tracing.trace_id(None) == ""


class Kept(tracing.Tracer):
    """Keeps its spans in memory instead of sending them."""

    def __init__(self) -> None:
        super().__init__(otlp.Target("http://127.0.0.1:9", {}), lambda *_: None, {"model": "toy", "model_version": "7"})
        self.done = InMemorySpanExporter()
        self._queue = SimpleSpanProcessor(self.done)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.done.get_finished_spans()}


async def inner(_: app.Scope, __: app.Receive, ___: app.Send) -> None:
    raise AssertionError("not for this test")


async def ask(served: app.App, body: Any, *headers: tuple[bytes, bytes]) -> int:
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    statuses: list[int] = []

    async def receive() -> app.Message:
        return messages.pop()

    async def send(message: app.Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "headers": [(b"content-type", b"application/json"), *headers],
    }
    await served(scope, receive, send)
    return statuses[0]


def serving(tracer: tracing.Tracer, call: predictor.Predict = lambda data, _: np.asarray(data["x"]) * 2) -> app.App:
    made = app.App(inner, app.Identity("toy", "7"), app.Limits(), lambda *_: None, tracer=tracer)
    made.serve(predictor.Predictor(SIGNATURE, call, None, by_row=True))
    return made


async def test_a_traced_request_has_four_spans_below_the_gateways() -> None:
    tracer = Kept()
    header = (b"traceparent", SAMPLED.encode())
    assert await ask(serving(tracer), {"instances": [{"x": 1.0}, {"x": 2.0}]}, header, (b"x-request-id", b"r-1")) == 200
    spans = tracer.spans()
    assert set(spans) == {"predict", "queue", "batch", "inference"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    parents = {name: f"{span.parent.span_id:016x}" for name, span in spans.items() if span.parent}
    server = f"{spans['predict'].context.span_id:016x}"
    assert parents == {
        "predict": PARENT,
        "queue": server,
        "batch": server,
        "inference": f"{spans['batch'].context.span_id:016x}",
    }
    for span in spans.values():
        assert span.attributes is not None
        assert (span.attributes["model"], span.attributes["model_version"]) == ("toy", "7")
    about = spans["predict"].attributes
    assert about is not None
    assert (about["rows"], about["http.response.status_code"], about["request_id"]) == (2, 200, "r-1")


async def test_requests_that_were_called_together_say_so() -> None:
    """The first is called at once; the others pile up behind it."""
    gate = threading.Event()

    def gated(data: Any, _: Mapping[str, Any]) -> Any:
        assert gate.wait(10)
        return np.asarray(data["x"])

    tracer = Kept()
    served = serving(tracer, gated)
    header = (b"traceparent", SAMPLED.encode())
    first = asyncio.create_task(ask(served, {"instances": [{"x": 0.0}]}, header))
    await asyncio.sleep(0.05)
    rest = [asyncio.create_task(ask(served, {"instances": [{"x": 1.0}, {"x": 2.0}]}, header)) for _ in range(3)]
    await asyncio.sleep(0.05)
    gate.set()
    assert await asyncio.gather(first, *rest) == [200] * 4
    batches = [span.attributes or {} for span in tracer.done.get_finished_spans() if span.name == "batch"]
    assert sorted((about["batch_requests"], about["batch_rows"]) for about in batches) == [(1, 1), (3, 6), (3, 6), (3, 6)]


@pytest.mark.parametrize(
    ("body", "status", "spans"),
    [
        ({"instances": [{"x": "?"}]}, 422, {"predict"}),
        ({"instances": [{"x": -1.0}]}, 500, {"predict", "queue", "batch", "inference"}),
    ],
)
async def test_errors_are_traced_as_far_as_they_came(body: Any, status: int, spans: set[str]) -> None:
    def broken(_: Any, __: Mapping[str, Any]) -> Any:
        raise ValueError("negative")

    tracer = Kept()
    assert await ask(serving(tracer, broken), body, (b"traceparent", SAMPLED.encode())) == status
    found = tracer.spans()
    assert set(found) == spans
    assert found["predict"].status.description == ("model-error" if status == 500 else None)
    assert found["predict"].status.is_ok == (status == 422)


async def test_a_request_that_is_not_traced_leaves_nothing() -> None:
    tracer = Kept()
    for header in (f"00-{TRACE}-{PARENT}-00", "garbage"):
        assert await ask(serving(tracer), {"instances": [{"x": 1.0}]}, (b"traceparent", header.encode())) == 200
    assert tracer.done.get_finished_spans() == ()


def test_what_is_no_endpoint_is_refused_with_the_fix() -> None:
    for endpoint in ("https://tempo:4318", "tempo:4318", "http://user:pw@tempo"):
        with pytest.raises(ValueError, match="http://host:port"):
            otlp.Target(endpoint, {})


@pytest.mark.parametrize(
    ("text", "headers"),
    [("", {}), ("A=1", {"a": "1"}), (" x-scope = a%20b , y=2,", {"x-scope": "a b", "y": "2"}), ("k=a=b", {"k": "a=b"})],
)
def test_headers_are_read_as_opentelemetry_has_them(text: str, headers: dict[str, str]) -> None:
    assert otlp.parse_headers(text) == headers


@pytest.mark.parametrize("text", ["a", "=1", "a b=1", "a=%0d%0ax: y"])
def test_headers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name=value"):
        otlp.parse_headers(text)
