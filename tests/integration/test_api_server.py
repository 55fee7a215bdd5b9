"""The API behind its real server over the real store: what only sockets, threads and real disconnects can show."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn

from controlplane import broadcast
from controlplane.api import app, services
from controlplane.store import sql
from gateway.memory import MemoryGateway
from registry.memory import MemoryRegistry
from rollout import events, model

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class NothingRuns:
    """A runtime that was never asked for anything."""

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        raise AssertionError("the API never acts")

    async def stop(self, model_name: str, version: int, drain_s: float) -> None:
        raise AssertionError("the API never acts")

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        return ()


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[services.Services]:
    registry = MemoryRegistry(lambda: NOW)
    for _ in range(2):
        registry.add("delay")
    store = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
    numbers = itertools.count(1)
    yield services.Services(
        store=store,
        registry=registry,
        gateway=MemoryGateway(),
        runtime=NothingRuns(),
        wake=lambda _: None,
        clock=lambda: NOW,
        new_id=lambda: f"r{next(numbers)}",
        traffic=lambda _: services.ObservedSplit(reason="not counted yet"),
        latency=lambda *_: (),
        changes=broadcast.Broadcast(),
        version="0",
    )
    await store.close()
    await registry.close()


@pytest.fixture
async def port(parts: services.Services) -> AsyncIterator[int]:
    """A server on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app.create_app(parts), log_level="warning", ws="none"))
        serving = asyncio.create_task(server.serve([listening]))
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
        parts.changes.close()
        server.should_exit = True
        await asyncio.wait_for(serving, 10)


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10, trust_env=False) as made:
        yield made


async def move(parts: services.Services, phase: model.Phase) -> None:
    rollout = await parts.store.rollout("r1")
    fact = events.Event("r1", "delay", NOW, events.Kind.PHASE, f"Now {phase}.")
    await parts.store.save(replace(rollout, status=replace(rollout.status, phase=phase)), None, [fact])
    parts.changes.publish("delay")


async def readers(parts: services.Services, number: int) -> None:
    async with asyncio.timeout(5):
        while parts.changes.readers != number:
            await asyncio.sleep(0.01)


async def test_a_stream_tells_each_change_at_once_and_ends_with_the_rollout(
    client: httpx.AsyncClient, parts: services.Services
) -> None:
    await client.post("/rollouts", json={"model": "delay", "version": 2})
    seen: list[str] = []
    async with asyncio.timeout(10), client.stream("GET", "/rollouts/r1/watch") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if seen == ["state", "event"] and line == "":  # only now, so nothing was held back until the end
                await move(parts, model.Phase.STARTING)
            if seen == ["state", "event", "event", "state"] and line == "":
                await move(parts, model.Phase.FAILED)
    assert seen == ["state", "event", "event", "state", "event", "state", "end"]
    await readers(parts, 0)


async def test_a_reader_that_goes_away_is_forgotten(client: httpx.AsyncClient, parts: services.Services) -> None:
    await client.post("/rollouts", json={"model": "delay", "version": 2})
    async with client.stream("GET", "/rollouts/r1/watch") as answer:
        await anext(answer.aiter_lines())
        await readers(parts, 1)
    await readers(parts, 0)


async def test_a_body_of_10_mb_is_refused_and_the_server_goes_on(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rollouts", content=b" " * 10_000_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert (await client.get("/healthz")).status_code == 200


async def test_the_same_call_at_once_over_many_connections_has_one_effect(
    client: httpx.AsyncClient, parts: services.Services
) -> None:
    call = {"model": "delay", "version": 2}
    answers = await asyncio.gather(*(client.post("/rollouts", json=call, headers={"Idempotency-Key": "k"}) for _ in range(30)))
    assert {(answer.status_code, answer.json()["model"], answer.headers["location"]) for answer in answers} == {
        (202, "delay", answers[0].headers["location"])
    }
    aborts = await asyncio.gather(
        *(client.post(f"{answers[0].json()['links']['abort'].removeprefix('/api/v1')}") for _ in range(30))
    )
    assert {answer.status_code for answer in aborts} == {202}
    assert [each.event.kind for each in await parts.store.events()] == [events.Kind.CREATED, events.Kind.REQUESTED]
    assert len(await parts.store.rollouts()) == 1
