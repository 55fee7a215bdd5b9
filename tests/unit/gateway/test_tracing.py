"""What Envoy is told about traces: who decides, by which share, and where spans go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf import json_format
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway import bootstrap, listener, pushes, routes, tracing
from gateway.settings import Settings
from rollout import model

ENDPOINT = "http://collector:4318"


def manager(settings: Settings, otlp: str | None = ENDPOINT) -> dict[str, Any]:
    """The connection manager as Envoy gets it."""
    made = http_connection_manager_pb2.HttpConnectionManager()
    assert listener.listener(settings, None, otlp).filter_chains[0].filters[0].typed_config.Unpack(made)
    found: dict[str, Any] = json_format.MessageToDict(made)
    return found


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("http://127.0.0.1:4318", ("127.0.0.1", 4318, "http://127.0.0.1:4318/v1/traces")),
        ("http://tempo/otlp/", ("tempo", 80, "http://tempo/otlp/v1/traces")),
        ("http://[::1]:4318", ("::1", 4318, "http://[::1]:4318/v1/traces")),
    ],
)
def test_an_endpoint_is_a_host_a_port_and_a_path(endpoint: str, parts: tuple[str, int, str]) -> None:
    assert tracing.split_endpoint(endpoint) == parts


@pytest.mark.parametrize(
    "endpoint", ["https://tempo:4318", "tempo:4318", "http://", "http://user:pw@tempo", "http://tempo?x=1"]
)
def test_what_is_no_endpoint_is_refused_with_the_fix(endpoint: str) -> None:
    with pytest.raises(model.Invalid, match="http://host:port"):
        tracing.split_endpoint(endpoint)


@pytest.mark.parametrize(
    ("pct", "numerator"), [(0.0, None), (1.0, 10_000), (0.01, 100), (33.3333, 333_333), (100.0, 1_000_000)]
)
def test_the_share_is_exact_to_a_millionth(pct: float, numerator: int | None) -> None:
    provider = manager(Settings(trace_sampling_pct=pct))["tracing"]["provider"]["typedConfig"]
    sampler = provider["sampler"]["typedConfig"]["wrappedSampler"]["typedConfig"]
    assert sampler["samplingPercentage"].get("numerator") == numerator
    assert sampler["samplingPercentage"]["denominator"] == "MILLION"
    assert provider["sampler"]["name"].endswith("parent_based"), "a caller's own decision comes first"


@pytest.mark.parametrize("pct", [-0.1, 100.1, float("nan")])
def test_no_other_share_is_taken(pct: float) -> None:
    with pytest.raises(model.Invalid, match="0 to 100"):
        Settings(trace_sampling_pct=pct)


def test_nothing_that_clients_choose_samples_but_their_traceparent() -> None:
    made = manager(Settings())
    assert made["requestIdExtension"]["typedConfig"]["useRequestIdForTraceSampling"] is False
    assert made["tracing"]["clientSampling"] == {}, "0 %"


def test_strangers_have_their_traces_taken_off() -> None:
    def removed(settings: Settings) -> set[str]:
        (extension,) = manager(settings)["earlyHeaderMutationExtensions"]
        return {mutation["remove"] for mutation in extension["typedConfig"]["mutations"] if "remove" in mutation}

    assert removed(Settings()) == set()
    assert removed(Settings(trace_callers=False)) == {"traceparent", "tracestate"}


def test_a_gateway_that_knows_no_endpoint_traces_nothing() -> None:
    assert "tracing" not in manager(Settings(), None)
    config = json.loads(bootstrap.render("edge", ads="c:1", admin="127.0.0.1:2"))
    assert [cluster["name"] for cluster in config["static_resources"]["clusters"]] == ["control_plane"]
    assert "layered_runtime" not in config


def test_the_bootstrap_names_the_endpoint_and_the_listener_uses_it() -> None:
    config = json.loads(bootstrap.render("edge", ads="c:1", admin="127.0.0.1:2", otlp=ENDPOINT))
    assert config["node"]["metadata"]["otlp"] == ENDPOINT
    (cluster,) = [one for one in config["static_resources"]["clusters"] if one["name"] == tracing.CLUSTER]
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {"address": "collector", "port_value": 4318}
    service = manager(Settings(trace_headers=(("x-mlflow-experiment-id", "0"),)))["tracing"]["provider"]["typedConfig"][
        "httpService"
    ]
    assert (service["httpUri"]["uri"], service["httpUri"]["cluster"]) == (f"{ENDPOINT}/v1/traces", cluster["name"])
    assert service["requestHeadersToAdd"] == [{"header": {"key": "x-mlflow-experiment-id", "value": "0"}}]


def test_every_answer_names_its_trace() -> None:
    routing = model.Routing("toy", model.Split.of({1: 100}), 1, ((1, ("127.0.0.1:1",)),))
    (host,) = routes.route_configuration(routing, Settings()).virtual_hosts
    assert {option.header.key: option.header.value for option in host.response_headers_to_add}["x-trace-id"] == "%TRACE_ID%"


class Tracing:
    def __init__(self) -> None:
        self.done = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.done))
        self.tracer = provider.get_tracer("test")
        self.pushes = pushes.Pushes(self.tracer)

    def publish(self, *nodes: str) -> trace.SpanContext:
        with self.tracer.start_as_current_span("publish") as span:
            self.pushes.begin("toy", nodes, 3)
        return span.get_span_context()

    def told(self) -> dict[str, tuple[object, object, list[str]]]:
        """By gateway: outcome, status, events."""
        return {
            str(span.attributes["gateway"]): (
                span.attributes["outcome"],
                span.status.description,
                [event.name for event in span.events],
            )
            for span in self.done.get_finished_spans()
            if span.name == pushes.NAME and span.attributes
        }


def test_a_push_ends_with_each_gateways_word() -> None:
    seen = Tracing()
    parent = seen.publish("a", "b", "c")
    seen.pushes.sent("a", "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "1f")
    seen.pushes.heard("a", "toy", model.Ack.NOT_YET, "")
    assert seen.told() == {}
    seen.pushes.heard("a", "toy", model.Ack.YES, "")
    seen.pushes.heard("b", "toy", model.Ack.REFUSED, "no such cluster")
    seen.pushes.gone("c")
    assert seen.told() == {
        "a": ("yes", None, ["sent"]),
        "b": ("refused", "no such cluster", []),
        "c": ("disconnected", None, []),
    }
    assert {span.parent.span_id for span in seen.done.get_finished_spans() if span.parent} == {parent.span_id}


def test_a_newer_routing_ends_the_push_of_the_older_one() -> None:
    seen = Tracing()
    seen.publish("a")
    seen.publish("a")
    assert seen.told() == {"a": ("superseded", None, [])}


def test_what_nobody_traces_is_not_remembered() -> None:
    seen = Tracing()
    seen.pushes.begin("toy", ["a"], 1)
    seen.pushes.heard("a", "toy", model.Ack.YES, "")
    assert seen.told() == {}
