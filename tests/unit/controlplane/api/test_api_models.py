"""Models over the API: registered, served, split; and the health of the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from controlplane.api import services
from controlplane.store import sql
from controlplane.store.memory import MemoryStore
from gateway.memory import MemoryGateway
from registry.memory import MemoryRegistry
from rollout import model, ports


class Counting(MemoryRegistry):
    """Counts the questions about one model."""

    asked = 0

    async def versions(self, model_name: str) -> Sequence[ports.ModelVersion]:
        self.asked += 1
        return await super().versions(model_name)


async def serve(store: MemoryStore, name: str = "delay") -> None:
    split = model.Split.of({1: 95, 2: 5})
    await store.save(None, model.ModelRecord(name, champion=1, replicas=2, split=split, epoch=3), [])


async def test_registered_and_served_models_are_listed(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await serve(store)
    await serve(store, "gone-from-mlflow")
    await client.post("/rollouts", json={"model": "delay", "version": 2})
    shown = (await client.get("/models")).json()
    assert shown["registry"] is None
    listed = {each["model"]: each for each in shown["models"]}
    assert list(listed) == ["Bad_Name", "delay", "gone-from-mlflow", "unsigned"]
    assert listed["delay"]["champion"] == 1
    assert listed["delay"]["split"] == [{"version": 1, "weight_pct": 95}, {"version": 2, "weight_pct": 5}]
    assert listed["delay"]["open_rollout"] == {"id": "r1", "version": 2, "phase": "queued", "link": "/api/v1/rollouts/r1"}
    assert listed["unsigned"]["champion"] is None
    assert [each["registered"] for each in listed.values()] == [True, True, False, True]


async def test_without_the_registry_the_served_models_are_listed(
    client: httpx.AsyncClient, store: MemoryStore, registry: MemoryRegistry
) -> None:
    await serve(store)
    registry.down = True
    shown = (await client.get("/models")).json()
    assert shown["registry"] == "MLflow is down"
    assert [(each["model"], each["registered"]) for each in shown["models"]] == [("delay", None)]


async def test_a_model_is_shown_with_its_deployments(
    client: httpx.AsyncClient, store: MemoryStore, runtime: ports.Runtime, registry: MemoryRegistry
) -> None:
    await serve(store)
    await runtime.ensure("delay", 1, 2)
    shown = (await client.get("/models/delay")).json()
    assert (shown["model"], shown["champion"], shown["registered"], shown["runtime"]) == ("delay", 1, True, None)
    assert [(each["version"], each["wanted"]) for each in shown["deployments"]] == [(1, 2)]
    registry.down = True
    assert (await client.get("/models/delay")).json()["registered"] is None


@pytest.mark.parametrize("rest", ["", "/versions", "/split", "/history"])
async def test_an_unknown_model_is_not_found_or_cannot_be_known(
    client: httpx.AsyncClient, registry: MemoryRegistry, rest: str
) -> None:
    answer = await client.get(f"/models/taxi{rest}")
    assert answer.status_code == 404
    assert "taxi" in answer.json()["detail"]
    registry.down = True
    assert (await client.get(f"/models/taxi{rest}")).status_code == 503


@pytest.mark.parametrize("rest", ["", "/split", "/history"])
async def test_a_served_model_is_shown_without_the_registry(
    client: httpx.AsyncClient, store: MemoryStore, registry: MemoryRegistry, rest: str
) -> None:
    await serve(store)
    registry.down = True
    assert (await client.get(f"/models/delay{rest}")).status_code == 200


async def test_versions_are_listed_newest_first(client: httpx.AsyncClient, registry: MemoryRegistry) -> None:
    await registry.set_alias("delay", "champion", 2)
    shown = (await client.get("/models/delay/versions")).json()
    assert [each["version"] for each in shown["versions"]] == [3, 2, 1]
    assert shown["versions"][1]["aliases"] == ["champion"]
    assert shown["versions"][0]["metrics"] == {"auc": 0.7}
    assert shown["versions"][0]["has_signature"] is True
    assert (await client.get("/models/unsigned/versions")).json()["versions"][0]["has_signature"] is False


async def test_a_split_is_shown_as_desired_acked_and_observed(
    client: httpx.AsyncClient, store: MemoryStore, gateway: MemoryGateway, traffic: dict[str, services.ObservedSplit]
) -> None:
    shown = (await client.get("/models/delay/split")).json()
    assert (shown["desired"], shown["acked"]["weights"], shown["observed"]["reason"]) == (None, None, "not counted yet")
    await serve(store)
    endpoints = ((1, ("127.0.0.1:1",)), (2, ("127.0.0.1:2",)))
    await gateway.publish(model.Routing("delay", model.Split.of({1: 99, 2: 1}), 2, endpoints))
    gateway.answer(model.Ack.REFUSED, "weights are wrong")
    await gateway.publish(model.Routing("delay", model.Split.of({1: 95, 2: 5}), 3, endpoints))
    seen = (services.ObservedVersion(1, 990, 2, 99.0), services.ObservedVersion(2, 10, 0, 1.0))
    traffic["delay"] = services.ObservedSplit(window_s=10.0, requests_per_s=100.0, versions=seen)
    shown = (await client.get("/models/delay/split")).json()
    assert shown["desired"] == [{"version": 1, "weight_pct": 95}, {"version": 2, "weight_pct": 5}]
    assert shown["epoch"] == 3
    assert (shown["acked"]["state"], shown["acked"]["epoch"]) == ("refused", 2)
    assert shown["acked"]["weights"] == [{"version": 1, "weight_pct": 99}, {"version": 2, "weight_pct": 1}]
    assert shown["acked"]["nodes"] == [{"id": "memory", "ack": "refused", "detail": "weights are wrong"}]
    assert shown["observed"]["versions"][1] == {"version": 2, "requests": 10, "errors": 0, "share_pct": 1.0}


async def test_a_models_history_spans_its_rollouts_and_is_paged(client: httpx.AsyncClient) -> None:
    await client.post("/rollouts", json={"model": "delay", "version": 2})
    await client.post("/rollouts/r1/pause")
    await client.post("/rollouts/r1/abort")
    page = (await client.get("/models/delay/history?limit=2")).json()
    assert [each["sentence"] for each in page["events"]][1] == "anonymous asked to pause."
    rest = (await client.get(page["next"].removeprefix("/api/v1"))).json()
    assert [each["data"]["verb"] for each in rest["events"]] == ["abort"]
    assert rest["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", f"after={2**80}", "limit=x"])
async def test_queries_have_limits(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/models/delay/history?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("query.")


async def test_the_list_asks_the_registry_once(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    registry = Counting(parts.clock)
    for number in range(50):
        registry.add(f"m{number}")
    async with connect(replace(parts, registry=registry)) as client:
        assert len((await client.get("/models")).json()["models"]) == 50
    assert registry.asked == 0


async def test_ready_tells_every_part(client: httpx.AsyncClient, gateway: MemoryGateway, registry: MemoryRegistry) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok", "version": "1.2.3"}
    ok = {"state": "ok", "reason": None}
    assert (await client.get("/readyz")).json() == {"ready": True, "store": ok, "registry": ok, "gateway": ok, "loop": ok}
    gateway.disconnect()
    registry.down = True
    answer = await client.get("http://slipway/readyz")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["registry"] == {"state": "away", "reason": "MLflow is down"}
    assert shown["gateway"] == {"state": "away", "reason": "no gateway is connected"}


async def test_a_pass_that_breaks_is_told_to_whoever_asks_for_health(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    async with connect(replace(parts, failures=lambda: {"taxi": "KeyError: 'x'"})) as client:
        shown = (await client.get("/readyz")).json()
    assert (shown["ready"], shown["loop"]) == (True, {"state": "failing", "reason": "taxi: KeyError: 'x'"})


async def test_without_its_store_it_is_not_ready_and_says_so(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services, tmp_path: Path
) -> None:
    store = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
    await store.close()
    async with connect(replace(parts, store=store)) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False
        assert answer.json()["store"] == {"state": "away", "reason": "the control plane is stopping"}
        lost = await client.get("/rollouts")
        assert (lost.status_code, lost.headers["retry-after"]) == (503, "2")
