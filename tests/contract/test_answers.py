"""The promises of `rollout.ports.Answers`, kept by the twin in memory and by real HTTP to what a bento shows alike."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Protocol

import numpy as np
import pytest
import uvicorn

from bentos.mlflow_model.scoring import exposing
from judge import answers
from monitoring.answers import HttpAnswers, MemoryAnswers
from rollout import ports

DEADLINE_S = 10.0


class World(Protocol):
    """The port, and replicas that answer requests of an epoch."""

    port: ports.Answers

    async def start(self) -> str: ...
    async def restart(self, address: str) -> None: ...
    async def stop(self, address: str) -> None: ...
    def answer(self, address: str, epoch: int, answer: float | str | None, many: int = 1) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self._twin = MemoryAnswers()
        self.port: ports.Answers = self._twin
        self._started = 0

    async def start(self) -> str:
        self._started += 1
        address = f"r{self._started}:3000"
        self._twin.start(address)
        return address

    async def restart(self, address: str) -> None:
        self._twin.start(address)

    async def stop(self, address: str) -> None:
        self._twin.away(address, "nobody is there")

    def answer(self, address: str, epoch: int, answer: float | str | None, many: int = 1) -> None:
        self._twin.answer(address, epoch, answer, many)


async def nothing(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class HttpWorld:
    """Each replica is what a bento shows, behind uvicorn."""

    def __init__(self, port: HttpAnswers) -> None:
        self.port: ports.Answers = port
        self._shown: dict[str, exposing.Exposed] = {}
        self._servers: dict[str, tuple[uvicorn.Server, asyncio.Task[None]]] = {}

    async def start(self) -> str:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._shown[address] = exposing.Exposed(nothing, "m", "1", "it has no profile")

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self._shown[address](scope, receive, send)

        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._servers[address] = server, asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(DEADLINE_S):
            while not server.started:
                await asyncio.sleep(0.01)
        return address

    async def restart(self, address: str) -> None:
        self._shown[address] = exposing.Exposed(nothing, "m", "1", "it has no profile")

    async def stop(self, address: str) -> None:
        server, running = self._servers.pop(address)
        server.should_exit = True
        await running

    def answer(self, address: str, epoch: int, answer: float | str | None, many: int = 1) -> None:
        told: Any = [{"records": "are no answer"}] if answer is None else np.array([answer])
        for _ in range(many):
            self._shown[address].answers.add(str(epoch).encode(), told)


@pytest.fixture(params=["memory", "http"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    port = HttpAnswers(read_s=5.0)
    made = HttpWorld(port)
    yield made
    for address in list(made._servers):
        await made.stop(address)
    await port.close()


async def test_both_sides_come_in_common_bins_by_epoch_and_replica(world: World) -> None:
    one, two, other = await world.start(), await world.start(), await world.start()
    world.answer(one, 4, 0.2371, 3)
    world.answer(two, 4, 0.9)
    world.answer(other, 4, 0.2423, 2)
    found = await world.port.samples({1: [one, two], 2: [other]})
    quarter, most = answers.of_score(0.24), answers.of_score(0.9)
    counted = {(s.version, s.epoch, s.answers) for s in found}
    assert counted == {(1, 4, ((quarter, 3),)), (1, 4, ((most, 1),)), (2, 4, ((quarter, 2),))}
    assert all((s.requests, s.errors, s.latency) == (0, 0, ()) for s in found)
    assert len({s.key for s in found}) == 3
    assert len({s.gateway for s in found}) == 1


async def test_classes_keep_their_names_and_counts_add_up(world: World) -> None:
    one, other = await world.start(), await world.start()
    for name, many in (("setosa", 2), ("virginica", 1), ("setosa", 1)):
        world.answer(one, 1, name, many)
        world.answer(other, 1, name, many)
    (sample, _) = await world.port.samples({1: [one], 2: [other]})
    assert {answers.name(number): many for number, many in sample.answers} == {"setosa": 3, "virginica": 1}


async def test_only_epochs_under_which_both_answered(world: World) -> None:
    one, other = await world.start(), await world.start()
    for epoch in (3, 4, 5):
        world.answer(one, epoch, 1.0)
    assert await world.port.samples({1: [one], 2: [other]}) == ()
    world.answer(other, 4, 1.0)
    world.answer(other, 6, 1.0)
    assert [s.epoch for s in await world.port.samples({1: [one], 2: [other]})] == [4, 4]


async def test_a_process_that_starts_anew_counts_under_another_name(world: World) -> None:
    one, other = await world.start(), await world.start()
    world.answer(one, 1, 0.5, 9)
    world.answer(other, 1, 0.5)
    before = {s.replica for s in await world.port.samples({1: [one], 2: [other]})}
    await world.restart(one)
    world.answer(one, 1, 0.5)
    after = await world.port.samples({1: [one], 2: [other]})
    assert len({s.replica for s in after} & before) == 1
    assert [many for s in after for _, many in s.answers] == [1, 1]


async def test_one_that_is_away_makes_all_unknown(world: World) -> None:
    one, two, other = await world.start(), await world.start(), await world.start()
    for address in (one, two, other):
        world.answer(address, 1, 0.5)
    await world.stop(two)
    with pytest.raises(ports.Unavailable, match=r"cannot be read|nobody is there"):
        await world.port.samples({1: [one, two], 2: [other]})
    assert len(await world.port.samples({1: [one], 2: [other]})) == 2
    with pytest.raises(ports.Unavailable, match="version 2 has no ready replica"):
        await world.port.samples({1: [one], 2: []})


async def test_answers_that_cannot_be_counted_are_said(world: World) -> None:
    one, other = await world.start(), await world.start()
    world.answer(one, 1, 0.5)
    world.answer(other, 1, None)
    with pytest.raises(ports.Unavailable, match="version 2 answers neither numbers nor texts"):
        await world.port.samples({1: [one], 2: [other]})
