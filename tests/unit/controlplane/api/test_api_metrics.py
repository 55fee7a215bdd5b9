"""The API counts itself by route, tells Prometheus what it asks for, and lists whom else to ask."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from controlplane.api import services
from rollout import model

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    text = (await client.get("http://slipway/metrics")).text
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        found |= {(sample.name, *sorted(sample.labels.values())): sample.value for sample in family.samples}
    return found


async def test_a_thousand_random_paths_make_one_series(client: httpx.AsyncClient) -> None:
    await client.get("/nowhere")
    before = await scraped(client)
    for _ in range(1000):
        answer = await client.get(f"/{secrets.token_hex(8)}/{secrets.token_hex(4)}")
        assert answer.status_code == 404
    after = await scraped(client)
    assert after.keys() - before.keys() == {key for key in after if "/metrics" in key} - before.keys()
    assert after["slipway_http_requests_total", "404", "GET", "unmatched"] == 1001


async def test_requests_are_counted_by_the_template_of_their_route(client: httpx.AsyncClient) -> None:
    for name in ("delay", "unsigned", "unheard-of"):
        await client.get(f"/models/{name}/split")
    await client.request("BREW", "/models")
    found = await scraped(client)
    route = "/api/v1/models/{name}/split"
    counted = {key[1:]: value for key, value in found.items() if key[0] == "slipway_http_requests_total"}
    assert sum(value for key, value in counted.items() if route in key) == 3, counted
    assert not any(name in part for key in found for part in key for name in ("unheard-of", "BREW"))
    assert sum(value for key, value in counted.items() if "other" in key) == 1


async def test_refusals_of_the_middleware_are_counted_too(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rollouts", content=b"x" * 10, headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    found = await scraped(client)
    assert found["slipway_http_requests_total", "415", "POST", "unmatched"] == 1


async def test_openmetrics_for_who_asks_for_it_with_an_exemplar_that_names_the_trace(client: httpx.AsyncClient) -> None:
    trace = secrets.token_hex(16)
    await client.get("/healthz", headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"})
    unsampled = secrets.token_hex(16)
    await client.get("/healthz", headers={"traceparent": f"00-{unsampled}-{secrets.token_hex(8)}-00"})
    answer = await client.get("http://slipway/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
    exemplars = [sample.exemplar for sample in families["slipway_http_request_duration_seconds"].samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"trace_id": trace}], "a trace that nobody kept is no exemplar"
    plain = await client.get("http://slipway/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert trace not in plain.text


async def test_targets_come_and_go(parts: services.Services, connect: Callable[[services.Services], httpx.AsyncClient]) -> None:
    gateways = {"edge": "127.0.0.1:8702", "shy": ""}
    client = connect(replace(parts, gateways=lambda: gateways))
    assert (await client.get("/targets/gateways")).json() == [{"targets": ["127.0.0.1:8702"], "labels": {"gateway": "edge"}}]
    gateways.clear()
    assert (await client.get("/targets/gateways")).json() == []
    running = model.Deployment("delay", 3, model.DeploymentState.READY, 1, ("127.0.0.1:7",))
    record = model.ModelRecord("delay", champion=3)
    parts.recorder.looked(record, None, model.Observed(now=NOW, deployments=(running,)))
    answer = await client.get("/targets/replicas")
    assert answer.headers["content-type"] == "application/json", "or Prometheus refuses it"
    assert answer.json() == [{"targets": ["127.0.0.1:7"], "labels": {"model": "delay", "model_version": "3"}}]
    parts.recorder.looked(record, None, model.Observed(now=NOW, deployments=()))
    assert (await client.get("/targets/replicas")).json() == []


@pytest.mark.parametrize("path", ["/targets", "/targets/people"])
async def test_there_are_no_other_targets(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code in {404, 422}
