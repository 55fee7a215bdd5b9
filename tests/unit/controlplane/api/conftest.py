"""The API in-process over the in-memory twins."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import httpx
import pytest

from controlplane import broadcast
from controlplane.api import app, services
from controlplane.store.memory import MemoryStore
from gateway.memory import MemoryGateway
from registry.memory import MemoryRegistry
from rollout import model, ports

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Replicas:
    """What is wanted runs at once. The API only reads it."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], model.Deployment] = {}

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        ready = model.DeploymentState.READY
        self._running[model_name, version] = model.Deployment(model_name, version, ready, replicas, ("127.0.0.1:1",) * replicas)

    async def stop(self, model_name: str, version: int, drain_s: float) -> None:
        self._running.pop((model_name, version), None)

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        return tuple(each for (name, _), each in sorted(self._running.items()) if name == model_name)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def registry() -> AsyncIterator[MemoryRegistry]:
    """`delay` has versions 1 to 3, `unsigned` one without a signature, `Bad_Name` a name that no address can have."""
    made = MemoryRegistry(lambda: NOW)
    for name in ("delay", "delay", "delay", "Bad_Name"):
        made.add(name, metrics={"auc": 0.7}, description="by ann")
    made.add("unsigned", files={"MLmodel": b"flavors:\n  python_function:\n    loader_module: x\n"})
    yield made
    await made.close()


@pytest.fixture
def gateway() -> MemoryGateway:
    return MemoryGateway()


@pytest.fixture
def runtime() -> ports.Runtime:
    return Replicas()


@pytest.fixture
def changes() -> broadcast.Broadcast:
    return broadcast.Broadcast()


@pytest.fixture
def woken() -> list[str]:
    """The models that the loop was told to look at."""
    return []


@pytest.fixture
def traffic() -> dict[str, services.ObservedSplit]:
    """What was counted lately, per model."""
    return {}


@pytest.fixture
def parts(
    store: MemoryStore,
    registry: MemoryRegistry,
    gateway: MemoryGateway,
    runtime: ports.Runtime,
    changes: broadcast.Broadcast,
    woken: list[str],
    traffic: dict[str, services.ObservedSplit],
) -> services.Services:
    numbers = itertools.count(1)
    return services.Services(
        store=store,
        registry=registry,
        gateway=gateway,
        runtime=runtime,
        wake=woken.append,
        clock=lambda: NOW,
        new_id=lambda: f"r{next(numbers)}",
        traffic=lambda name: traffic.get(name, services.ObservedSplit(reason="not counted yet")),
        latency=lambda *_: (),
        changes=changes,
        version="1.2.3",
        heartbeat_s=0.05,
    )


@pytest.fixture
def connect() -> Callable[[services.Services], httpx.AsyncClient]:
    """A client of an API over these services. An unhandled exception in a route fails the test."""

    def connected(parts: services.Services) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app.create_app(parts))
        return httpx.AsyncClient(transport=transport, base_url="http://slipway/api/v1")

    return connected


@pytest.fixture
async def client(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(parts) as made:
        yield made
