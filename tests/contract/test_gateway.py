"""The promises of `rollout.ports.Gateway`, kept by the twin in memory and by a real Envoy with real replicas alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from aiohttp import web

from cli.stack.ports import free_port
from gateway import adapter, bootstrap, memory, process
from gateway.settings import Settings
from judge import bins
from rollout import model, ports

DEADLINE_S = 10.0
WORDS = "malformed IP address"


class World(Protocol):
    """A gateway port, its changes, and somebody who sends requests."""

    gateway: ports.Gateway
    changes: list[str]

    async def connect(self) -> None: ...
    async def disconnect(self) -> None: ...
    async def send(self, name: str, version: int, requests: int, errors: int) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.changes: list[str] = []
        self._memory = memory.MemoryGateway(self.changes.append)
        self._memory.disconnect()
        self.gateway: ports.Gateway = self._memory

    async def connect(self) -> None:
        self._memory.connect()
        self._memory.answer(model.Ack.REFUSED, WORDS, model_name="poisoned")

    async def disconnect(self) -> None:
        self._memory.disconnect()

    async def send(self, name: str, version: int, requests: int, errors: int) -> None:
        self._memory.count(name, version, requests, errors, replica="127.0.0.1:3001", latency_us=460.0)


async def replica(request: web.Request) -> web.Response:
    return web.Response(status=int(request.query.get("code", "200")))


class EnvoyWorld:
    def __init__(self, folder: Path) -> None:
        self.changes: list[str] = []
        self._folder = folder
        self._ads_port, self._admin_port = free_port(), free_port()
        self._settings = Settings(port=free_port())
        self._envoy: asyncio.subprocess.Process | None = None
        self._adapter = adapter.EnvoyGateway(
            ads_host="127.0.0.1", ads_port=self._ads_port, settings=self._settings, on_change=self.changes.append
        )
        self.gateway: ports.Gateway = self._adapter
        self.replica = f"127.0.0.1:{free_port()}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", replica)
        runner = web.AppRunner(app)
        await runner.setup()
        host, port = self.replica.split(":")
        await web.TCPSite(runner, host, int(port)).start()
        await self._adapter.start()
        try:
            yield
        finally:
            await self.disconnect()
            await self._adapter.stop()
            await runner.cleanup()

    async def connect(self) -> None:
        config = self._folder / "envoy.json"
        config.write_text(
            bootstrap.render("edge", ads=f"127.0.0.1:{self._ads_port}", admin=f"127.0.0.1:{self._admin_port}"), encoding="utf-8"
        )
        self._envoy = await asyncio.create_subprocess_exec(*process.argv(config, log_path=self._folder / "envoy.log"))

    async def disconnect(self) -> None:
        if self._envoy is not None:
            envoy, self._envoy = self._envoy, None
            envoy.kill()
            await envoy.wait()

    async def send(self, name: str, version: int, requests: int, errors: int) -> None:
        del version  # the published split leads to it
        url = f"http://127.0.0.1:{self._settings.port}/{name}/predict"
        async with aiohttp.ClientSession() as http:
            for i in range(requests):
                async with http.post(url, params={"code": "500" if i < errors else "200"}) as response:
                    assert response.status == (500 if i < errors else 200)


@pytest.fixture(params=["memory", "envoy"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
    else:
        real = EnvoyWorld(tmp_path)
        async with real.running():
            yield real


def routing(world: World, name: str = "flight-delay", epoch: int = 1, version: int = 1) -> model.Routing:
    host = "not-an-address:1" if name == "poisoned" else getattr(world, "replica", "127.0.0.1:3001")
    return model.Routing(name, model.Split.of({version: 100}), epoch, ((version, (host,)),))


async def eventually(world: World, name: str, wanted: Callable[[model.GatewayState], bool]) -> model.GatewayState:
    async with asyncio.timeout(DEADLINE_S):
        while not wanted(state := await world.gateway.state(name)):
            await asyncio.sleep(0.01)
    return state


async def test_nobody_is_connected(world: World) -> None:
    await world.gateway.publish(routing(world))
    state = await world.gateway.state("flight-delay")
    assert state == model.GatewayState(model.Ack.AWAY, (), routing(world), None)
    with pytest.raises(ports.Unavailable, match="no gateway is connected"):
        await world.gateway.samples("flight-delay")


async def test_what_is_published_is_confirmed_and_counted(world: World) -> None:
    await world.gateway.publish(routing(world))
    await world.connect()
    state = await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    assert state.acked == state.published == routing(world)
    assert [node.ack for node in state.nodes] == [model.Ack.YES]
    assert "flight-delay" in world.changes
    assert await world.gateway.samples("flight-delay") == ()
    await world.send("flight-delay", 1, requests=5, errors=2)
    (sample,) = await world.gateway.samples("flight-delay")
    assert (sample.epoch, sample.version, sample.requests, sample.errors) == (1, 1, 5, 2)
    assert sample.gateway
    assert sample.replica.startswith("127.0.0.1:")


async def test_how_long_answers_took_is_told_soon_and_adds_up(world: World) -> None:
    await world.gateway.publish(routing(world))
    await world.connect()
    await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    before = 0
    for requests, errors, served in ((5, 2, 3), (4, 0, 7)):
        await world.send("flight-delay", 1, requests=requests, errors=errors)
        told = -1
        async with asyncio.timeout(DEADLINE_S):
            while told < served:
                (sample,) = await world.gateway.samples("flight-delay")
                told = sum(count for _, count in sample.latency)
                assert before <= told <= served, "counts only grow, and failed requests are not among them"
        assert all(10.0 <= bins.lower_us()[index] < 5e6 for index, _ in sample.latency)
        before = served


async def test_counts_belong_to_the_epoch_in_which_requests_arrived(world: World) -> None:
    await world.connect()
    for epoch in (7, 8):
        await world.gateway.publish(routing(world, epoch=epoch))
        await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
        await world.send("flight-delay", 1, requests=epoch, errors=0)
    found = await world.gateway.samples("flight-delay")
    assert sorted((sample.epoch, sample.requests) for sample in found) == [(7, 7), (8, 8)]


async def test_publishing_the_same_again_does_nothing(world: World) -> None:
    await world.connect()
    await world.gateway.publish(routing(world))
    await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    world.changes.clear()
    await world.gateway.publish(routing(world))
    assert (await world.gateway.state("flight-delay")).ack is model.Ack.YES
    assert world.changes == []


async def test_a_refusal_comes_with_words_and_leaves_other_models_alone(world: World) -> None:
    await world.connect()
    await world.gateway.publish(routing(world, "poisoned"))
    await world.gateway.publish(routing(world))
    await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    state = await eventually(world, "poisoned", lambda state: state.ack is model.Ack.REFUSED)
    assert state.acked is None
    assert WORDS in state.nodes[0].detail


async def test_a_withdrawn_model_is_unknown(world: World) -> None:
    await world.connect()
    await world.gateway.publish(routing(world))
    await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    await world.gateway.withdraw("flight-delay")
    state = await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    assert (state.published, state.acked) == (None, None)
    await world.gateway.withdraw("flight-delay")
    await world.gateway.withdraw("never-heard-of")
    assert (await world.gateway.state("never-heard-of")).published is None
    assert await world.gateway.samples("never-heard-of") == ()


async def test_a_lost_gateway_is_noticed(world: World) -> None:
    await world.connect()
    await world.gateway.publish(routing(world))
    await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.YES)
    world.changes.clear()
    await world.disconnect()
    await eventually(world, "flight-delay", lambda state: state.ack is model.Ack.AWAY)
    assert world.changes == ["flight-delay"]


@pytest.mark.parametrize(("name", "host"), [("no/model", "127.0.0.1:1"), ("flight-delay", "nowhere")])
async def test_what_cannot_be_routed_is_refused_at_once(world: World, name: str, host: str) -> None:
    with pytest.raises(ports.Refused, match=r"cannot be part of a web address|an endpoint is host:port"):
        await world.gateway.publish(model.Routing(name, model.Split.of({1: 100}), 1, ((1, (host,)),)))
    assert (await world.gateway.state(name)).published is None


async def test_the_twin_plays_silence_blindness_and_new_lives() -> None:
    gateway = memory.MemoryGateway()
    one = model.Routing("m", model.Split.of({1: 100}), 1, ((1, ("127.0.0.1:1",)),))
    gateway.answer(model.Ack.NOT_YET)
    await gateway.publish(one)
    assert (await gateway.state("m")).ack is model.Ack.NOT_YET
    gateway.answer(model.Ack.YES)
    gateway.count("m", 1, 3, 1)
    (before,) = await gateway.samples("m")
    gateway.restart()
    gateway.count("m", 1, 2)
    (after,) = await gateway.samples("m")
    assert (after.requests, before.requests) == (2, 3)
    assert after.gateway != before.gateway
    gateway.blind("out of order")
    with pytest.raises(ports.Unavailable, match="out of order"):
        await gateway.samples("m")
    gateway.blind("")
    assert await gateway.samples("m") == (after,)
