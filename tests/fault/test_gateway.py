"""Envoy and the control plane die, freeze and refuse. Traffic goes on, and nothing is reported that is not so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cli.stack.ports import free_port
from gateway import adapter, bootstrap, counts, process
from gateway.settings import Settings
from judge.samples import Sample
from rollout import model, ports

DEADLINE_S = 20.0
NAME = "flight-delay"


async def answer(_: web.Request) -> web.Response:
    return web.json_response({})


class Site:
    """One ADS port, one ingress port; Envoys and control planes come and go."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.ads_port = free_port()
        self.settings = Settings(port=free_port(), request_timeout_s=2.0, linger_s=0.5)
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{self.settings.port}")
        self.failures: list[str] = []
        self.requests = 0

    async def replica(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return f"127.0.0.1:{port}"

    async def control_plane(self, *routings: model.Routing) -> adapter.EnvoyGateway:
        gateway = adapter.EnvoyGateway(
            ads_host="127.0.0.1", ads_port=self.ads_port, settings=self.settings, on_change=lambda _: None
        )
        for routing in routings:
            await gateway.publish(routing)
        await gateway.start()
        self.stack.push_async_callback(gateway.stop)
        return gateway

    async def envoy(self, node: str = "edge", **options: Any) -> asyncio.subprocess.Process:
        """`options` of the bootstrap."""
        config, admin = self.folder / f"{node}.json", f"127.0.0.1:{free_port()}"
        ads = f"127.0.0.1:{self.ads_port}"
        config.write_text(bootstrap.render(node, ads=ads, admin=admin, **options), encoding="utf-8")
        started = await asyncio.create_subprocess_exec(*process.argv(config, log_path=self.folder / f"{node}.log"))
        self.stack.push_async_callback(end, started)
        return started

    async def version(self) -> str:
        """Which version answers; a failed request is remembered."""
        self.requests += 1
        async with self.http.post(f"/{NAME}/predict") as response:
            if response.status != 200:
                self.failures.append(f"{response.status}: {await response.text()}")
            return response.headers.get("x-model-version", "")

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        async def client() -> None:
            while True:
                await self.version()

        clients = [asyncio.create_task(client()) for _ in range(3)]
        try:
            yield
        finally:
            for task in clients:
                task.cancel()
            await asyncio.gather(*clients, return_exceptions=True)


async def end(envoy: asyncio.subprocess.Process) -> None:
    if envoy.returncode is None:
        envoy.kill()
    await envoy.wait()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with contextlib.AsyncExitStack() as stack:
        one = Site(tmp_path, stack)
        await stack.enter_async_context(one.http)
        yield one


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await check():
            await asyncio.sleep(0.01)


async def until(gateway: adapter.EnvoyGateway, ack: model.Ack, name: str = NAME) -> model.GatewayState:
    async def reached() -> bool:
        return (await gateway.state(name)).ack is ack

    await eventually(reached)
    return await gateway.state(name)


async def counted(gateway: adapter.EnvoyGateway) -> Sample:
    async def some() -> bool:
        return bool(await gateway.samples(NAME))

    await eventually(some)
    return (await gateway.samples(NAME))[0]


def routing(epoch: int, weights: dict[int, int], *addresses: str, name: str = NAME) -> model.Routing:
    endpoints = tuple((version, (address,)) for version, address in enumerate(addresses, start=1))
    return model.Routing(name, model.Split.of(weights), epoch, endpoints)


async def test_envoy_is_killed_and_comes_back(site: Site) -> None:
    gateway = await site.control_plane(routing(1, {1: 100}, await site.replica()))
    envoy = await site.envoy()
    await until(gateway, model.Ack.YES)
    assert await site.version() == "1"
    (before,) = await gateway.samples(NAME)
    envoy.kill()
    await envoy.wait()
    await until(gateway, model.Ack.AWAY)
    with pytest.raises(ports.Unavailable, match="no gateway is connected"):
        await gateway.samples(NAME)
    await site.envoy()
    await until(gateway, model.Ack.YES)
    assert await gateway.samples(NAME) == ()
    assert await site.version() == "1"
    (after,) = await gateway.samples(NAME)
    assert (before.requests, after.requests) == (1, 1)
    assert before.gateway != after.gateway, "counters of two lives must never be subtracted"
    assert site.failures == []


async def test_the_control_plane_dies_and_a_new_one_takes_over(site: Site) -> None:
    one, two = await site.replica(), await site.replica()
    first = await site.control_plane(routing(1, {1: 100}, one, two))
    await site.envoy()
    await until(first, model.Ack.YES)
    async with site.load():
        before = await counted(first)
        await first.stop()
        served = site.requests
        await asyncio.sleep(0.2)
        assert site.requests > served, "traffic goes on without a control plane"
        second = await site.control_plane(routing(1, {1: 100}, one, two))
        state = await until(second, model.Ack.YES)
        assert state.acked == routing(1, {1: 100}, one, two)
        assert (await counted(second)).gateway == before.gateway, "the same process is the same gateway"
        await second.stop()
        # the third has forgotten version 1 and knows a version 3
        third = await site.control_plane(model.Routing(NAME, model.Split.of({3: 100}), 2, ((2, (two,)), (3, (one,)))))
        await until(third, model.Ack.YES)
        assert await site.version() == "3"
        await asyncio.sleep(0.8)  # version 1 stops lingering
    assert site.failures == []


async def test_a_refused_routing_leaves_the_last_good_one_serving(site: Site) -> None:
    one, two = await site.replica(), await site.replica()
    good, bad = routing(1, {1: 100}, one), routing(2, {2: 100}, one, "no-address:1")
    gateway = await site.control_plane(good)
    envoy = await site.envoy()
    await until(gateway, model.Ack.YES)
    async with site.load():
        await gateway.publish(bad)
        state = await until(gateway, model.Ack.REFUSED)
        assert "malformed IP address" in state.nodes[0].detail
        assert (state.published, state.acked) == (bad, good)
        await gateway.publish(routing(1, {1: 100}, two, name="other"))
        await until(gateway, model.Ack.YES, "other")
    envoy.kill()
    await envoy.wait()
    await until(gateway, model.Ack.AWAY)
    await site.envoy()
    await until(gateway, model.Ack.REFUSED)

    async def confirmed() -> bool:
        return (await gateway.state(NAME)).acked == good

    await eventually(confirmed)  # also by an Envoy that never saw it before
    assert await site.version() == "1"
    await gateway.publish(routing(3, {2: 100}, one, two))
    await until(gateway, model.Ack.YES)
    assert await site.version() == "2"
    assert site.failures == []


async def test_a_frozen_envoy_makes_blind_at_once_and_is_away_soon(site: Site) -> None:
    gateway = await site.control_plane(routing(1, {1: 100}, await site.replica()))
    envoy = await site.envoy()
    await until(gateway, model.Ack.YES)
    envoy.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(3.0):
        with pytest.raises(ports.Unavailable, match="cannot be read"):
            await gateway.samples(NAME)
    await gateway.publish(routing(2, {1: 100}, await site.replica()))
    assert (await gateway.state(NAME)).ack is model.Ack.NOT_YET
    async with asyncio.timeout(12.0):
        await until(gateway, model.Ack.AWAY)
    envoy.send_signal(signal.SIGCONT)
    await until(gateway, model.Ack.YES)


async def test_a_taken_port_is_told(site: Site) -> None:
    one = await site.replica()
    gateway = await site.control_plane(routing(1, {1: 100}, one))
    other = adapter.EnvoyGateway(ads_host="127.0.0.1", ads_port=site.ads_port, settings=site.settings, on_change=lambda _: None)
    with pytest.raises(ports.Refused, match=f"127.0.0.1:{site.ads_port}"):
        await other.start()
    await site.envoy()
    await until(gateway, model.Ack.YES)
    forgotten = await site.envoy("forgotten")  # wants the same ingress port
    state = await until(gateway, model.Ack.REFUSED)
    assert [(node.id, node.ack) for node in state.nodes] == [("edge", model.Ack.YES), ("forgotten", model.Ack.REFUSED)]
    assert "Address already in use" in state.nodes[1].detail
    await end(forgotten)
    await until(gateway, model.Ack.YES)


async def test_an_access_log_that_cannot_be_written_is_told(site: Site) -> None:
    gateway = await site.control_plane(routing(1, {1: 100}, await site.replica()))
    await site.envoy(access_log_path=str(site.folder / "missing" / "access.log"))
    state = await until(gateway, model.Ack.REFUSED)
    assert "access.log" in state.nodes[0].detail


def measured(samples: tuple[Sample, ...]) -> int:
    return sum(count for sample in samples for _, count in sample.latency)


async def test_reading_often_forgets_nothing(site: Site) -> None:
    """Eviction is for what nobody asked of the models for long, however often somebody reads the counts."""
    gateway = await site.control_plane(routing(1, {1: 100}, await site.replica()))
    await site.envoy(eviction_s=30)
    await until(gateway, model.Ack.YES)
    await site.version()

    async def flushed() -> bool:
        return measured(await gateway.samples(NAME)) == 1

    await eventually(flushed)
    for _ in range(300):
        (sample,) = await gateway.samples(NAME)
        assert (sample.requests, measured((sample,))) == (1, 1)


async def test_what_nobody_used_for_long_is_forgotten(site: Site) -> None:
    """Ever new epochs and replicas must not fill Envoy's memory."""
    gateway = await site.control_plane(routing(1, {1: 100}, await site.replica()))
    await site.envoy(eviction_s=1)
    await until(gateway, model.Ack.YES)
    await site.version()
    await counted(gateway)

    async def forgotten() -> bool:
        return await gateway.samples(NAME) == ()

    await eventually(forgotten)
    await site.version()
    (sample,) = await gateway.samples(NAME)
    assert sample.requests == 1, "from zero again"


async def test_a_hundred_epochs_of_many_versions_are_all_told(site: Site) -> None:
    one = await site.replica()
    gateway = await site.control_plane()
    await site.envoy()
    for epoch in range(1, 101):
        version = 1 + epoch // 2
        await gateway.publish(model.Routing(NAME, model.Split.of({version: 100}), epoch, ((version, (one,)),)))
        await until(gateway, model.Ack.YES)
        assert await site.version() == str(version)

    async def flushed() -> bool:
        return measured(await gateway.samples(NAME)) == 100

    await eventually(flushed)
    samples = await gateway.samples(NAME)
    assert {(s.epoch, s.version, s.requests, measured((s,))) for s in samples} == {(e, 1 + e // 2, 1, 1) for e in range(1, 101)}
    assert site.failures == []


class Liar:
    """Stands in for Envoy's admin interface: tells the truth about who it is, and of counts whatever a test wants."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.says = json.dumps({"stats": []})
        self.status = 200
        self.delay_s = 0.0
        self.readings = 0
        self.address = f"127.0.0.1:{free_port()}"
        self.reader = counts.Reader(http, "edge", self.address)

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        app = web.Application()
        app.router.add_get("/config_dump", self._who)
        app.router.add_get("/stats", self._stats)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        host, port = self.address.split(":")
        await web.TCPSite(runner, host, int(port)).start()

    async def _who(self, _: web.Request) -> web.Response:
        return web.json_response({"configs": [{"@type": "x.BootstrapConfigDump", "last_updated": "then"}]})

    async def _stats(self, request: web.Request) -> web.Response:
        histograms = request.query["type"] == "Histograms"
        self.readings += not histograms
        await asyncio.sleep(self.delay_s)
        return web.Response(text='{"stats": []}' if histograms else self.says, status=self.status)


@pytest.fixture
async def liar(site: Site) -> Liar:
    one = Liar(site.http)
    await one.start(site.stack)
    return one


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (200, "<html>"),
        (200, "[]"),
        (200, "{}"),
        (200, '{"stats": 7}'),
        (200, '{"stats": [7]}'),
        (200, '{"stats": [{"name": "slipway.requests.model.m.version.1.kind.split.epoch.1.replica.", "value": -1}]}'),
        (200, '{"stats": [{"name": "slipway.requests.model.m.version.1.kind.split.epoch.1.replica.", "value": null}]}'),
        (503, '{"stats": []}'),
    ],
)
async def test_garbage_from_the_admin_interface_makes_blind(liar: Liar, status: int, says: str) -> None:
    liar.status, liar.says = status, says
    with pytest.raises(counts.Unreadable):
        await liar.reader.samples("m")
    liar.status, liar.says = 200, '{"stats": []}'
    assert await liar.reader.samples("m") == ()


async def test_a_slow_admin_interface_makes_blind_in_time_and_is_not_asked_by_everybody_at_once(liar: Liar) -> None:
    liar.delay_s = counts.READ_S * 3
    asked = [asyncio.create_task(liar.reader.samples("m"))]
    await asyncio.sleep(0.1)
    asked += [asyncio.create_task(liar.reader.samples(name)) for name in ("m", "n", "o")]
    async with asyncio.timeout(counts.READ_S * 2.5):
        told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in told] == [counts.Unreadable] * 4
    assert liar.readings == 2, "one under way, and one for all who came meanwhile"
    liar.delay_s = 0.0
    assert await liar.reader.samples("m") == ()
