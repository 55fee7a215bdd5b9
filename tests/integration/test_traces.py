"""The whole way of one request, found by the id in its answer: a real Envoy, a real bento and a real MLflow that takes their spans; and the log
lines of all of them, which name the same ids.

One stack for all tests. It traces what its callers want traced, and everything else.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests import toy

if TYPE_CHECKING:
    from mlflow.entities import Span, Trace

    from tests.system import System

Eventually = Callable[..., Any]

MODEL, ROW = toy.MODEL, toy.ROW
FILES = toy.files("""class Model:
    def predict(self, data):
        if (data["x"] < 0).any():
            raise ValueError("negative")
        return data["x"] * 2
""")
ENDPOINT = "SLIPWAY_OTLP_ENDPOINT"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", autouse=True)
def everything() -> Iterator[None]:
    """Set before the stack starts, since its parts are told then."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLIPWAY_TRACE_SAMPLING_PCT", "100")
        environment.delenv(ENDPOINT, raising=False)
        yield


@pytest.fixture(scope="module")
def site(system: System) -> System:
    """Version 1 serves."""
    return system.with_champion(MODEL, FILES)


@pytest.fixture
def found(site: System, eventually: Eventually) -> Callable[[str, int], Trace]:
    """Asks MLflow for a trace by the id of W3C until it has so many spans."""
    from mlflow import MlflowClient  # noqa: PLC0415  takes seconds
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  as above

    client = MlflowClient(site.mlflow)

    def find(trace_id: str, spans: int) -> Trace:
        def look() -> Trace | None:
            try:
                trace = client.get_trace(f"tr-{trace_id}", display=False)
            except MlflowException as error:
                if "not found" not in str(error).lower():
                    raise
                return None
            return trace if len(trace.data.spans) >= spans else None

        trace: Trace = eventually(look, 30)
        return trace

    return find


Found = Callable[[str, int], Any]


def by_name(trace: Trace) -> dict[str, Span]:
    named = {span.name: span for span in trace.data.spans}
    assert len(named) == len(trace.data.spans), [span.name for span in trace.data.spans]
    return named


def test_a_request_is_one_trace_from_the_gateway_to_the_models_call(site: System, found: Found) -> None:
    answer = site.predict(f"{MODEL}/predict", ROW)
    assert answer.status_code == 200
    trace_id = answer.headers["x-trace-id"]
    trace = found(trace_id, 5)
    spans = by_name(trace)
    assert set(spans) == {"POST split/toy", "predict", "queue", "batch", "inference"}
    parents = {
        "POST split/toy": None,
        "predict": "POST split/toy",
        "queue": "predict",
        "batch": "predict",
        "inference": "batch",
    }
    ids = {span.span_id: name for name, span in spans.items()}
    assert {name: ids.get(span.parent_id or "") for name, span in spans.items()} == parents
    for span in spans.values():
        assert (span.attributes["model"], str(span.attributes["model_version"])) == (MODEL, "1"), span
    for child, parent in parents.items():
        if parent is not None:
            inner, outer = spans[child], spans[parent]
            assert inner.end_time_ns is not None
            assert outer.end_time_ns is not None
            times = [outer.start_time_ns, inner.start_time_ns, inner.end_time_ns, outer.end_time_ns]
            assert times == sorted(time or 0 for time in times), (child, parent)
    assert spans["queue"].end_time_ns == spans["batch"].start_time_ns
    assert spans["predict"].attributes["request_id"] == answer.headers["x-request-id"]
    assert spans["batch"].attributes["batch_requests"] == 1
    assert trace.info.state.value == "OK"


def test_a_caller_may_bring_its_own_trace(site: System, found: Found) -> None:
    """Its id stays, and its span is the parent of the gateway's."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
    answer = site.http.post(f"{site.gateway}/{MODEL}/v1/predict", json=ROW, headers=headers)
    assert answer.headers["x-trace-id"] == trace_id
    assert by_name(found(trace_id, 5))["POST pinned/toy"].parent_id == span_id


def test_a_caller_may_say_that_it_is_not_traced(site: System, found: Found) -> None:
    """What comes after it is found, it is not."""
    from mlflow import MlflowClient  # noqa: PLC0415  takes seconds

    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-00"}
    answer = site.http.post(f"{site.gateway}/{MODEL}/predict", json=ROW, headers=headers)
    assert (answer.status_code, answer.headers["x-trace-id"]) == (200, trace_id)
    found(site.predict(f"{MODEL}/predict", ROW).headers["x-trace-id"], 5)
    kept = MlflowClient(site.mlflow).search_traces(locations=["0"], include_spans=False)
    assert f"tr-{trace_id}" not in [trace.info.trace_id for trace in kept]


def test_the_models_own_error_is_seen_in_its_trace_and_named_by_its_log_line(site: System, found: Found) -> None:
    answer = site.predict(f"{MODEL}/predict", {"dataframe_records": [{"x": -1.0}]})
    assert answer.status_code == 500
    trace_id, request_id = answer.headers["x-trace-id"], answer.json()["request_id"]
    spans = by_name(found(trace_id, 5))
    assert spans["predict"].status.status_code.value == "ERROR"
    assert spans["predict"].attributes["http.response.status_code"] == 500
    log = site.stack.config.state_dir / "runtime" / MODEL / "v1" / "replica-0" / "log.txt"
    (line,) = [line for line in map(json.loads, log.read_text().splitlines()[1:]) if line.get("request_id") == request_id]
    assert (line["trace_id"], line["level"], line["service"]) == (trace_id, "error", "slipway-bento")
    assert (line["model"], line["model_version"]) == (MODEL, "1")
    assert 'raise ValueError("negative")' in line["exception"]


def test_the_gateways_log_names_the_trace_of_every_request(site: System, eventually: Eventually) -> None:
    answer = site.predict(f"{MODEL}/predict", ROW)
    log = site.stack.config.state_dir / "logs" / "access.log"

    def logged() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [line for line in lines if line["request_id"] == answer.headers["x-request-id"]]

    (line,) = eventually(logged)
    assert line["trace_id"] == answer.headers["x-trace-id"]
    assert (line["service"], line["level"], line["code"]) == ("slipway-gateway", "info", 200)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 60  # noqa: TID251  a real time


def test_a_pass_that_changed_something_is_one_trace_down_to_the_gateways_ack(site: System, found: Found) -> None:
    """Found by the exemplar at the histogram of rollbacks, and by its log lines."""
    rollout = site.start(MODEL, 2, steps=[{"weight_pct": 50, "requests": 10_000_000}, 100])
    site.phase(rollout, "progressing")
    assert site.ask(rollout, "abort", "enough seen").status_code == 202
    site.phase(rollout, "rolled_back")
    lines = (site.stack.config.state_dir / "logs" / "controlplane.log").read_text().splitlines()
    told = [line for line in map(json.loads, lines) if line.get("rollout") == rollout and line.get("trace_id")]
    (leaving,) = [line["trace_id"] for line in told if line["kind"] == "phase" and "off the traffic" in line["message"]]
    trace = found(leaving, 8)
    names = [span.name for span in trace.data.spans]
    assert {"pass", "observe", "judge", "advance", "save", "apply", "publish", "xds push"} <= set(names)
    spans = {span.name: span for span in trace.data.spans}
    assert spans["pass"].parent_id is None
    assert spans["pass"].attributes["rollout"] == rollout
    assert spans["publish"].parent_id == spans["apply"].span_id
    push = spans["xds push"]
    assert push.parent_id == spans["publish"].span_id
    assert (push.attributes["gateway"], push.attributes["outcome"]) == ("local", "yes")
    assert "RouteConfiguration" in [event.attributes["type"] for event in push.events]

    metrics = site.http.get(
        f"{site.stack.addresses['api']}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    ).text
    exemplars = re.findall(r"^slipway_rollback_execution_seconds_bucket{.*# {(.+?)} ", metrics, re.MULTILINE)
    (labels,) = {tuple(sorted(re.findall(r'(\w+)="(\w[\w-]*)"', each))) for each in exemplars}
    exemplar = dict(labels)
    assert exemplar["rollout"] == rollout
    assert "pass" in [span.name for span in found(exemplar["trace_id"], 5).data.spans]
