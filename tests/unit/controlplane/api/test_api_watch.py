"""Watching a rollout: state first, every fact, every change, and an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from controlplane import broadcast
from controlplane.api import services
from controlplane.store.memory import MemoryStore
from rollout import events, model, ports

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Dying(MemoryStore):
    """Answers once, then no more."""

    answers = 2

    async def rollout(self, rollout_id: str) -> model.Rollout:
        self.answers -= 1
        if self.answers < 0:
            raise ports.Unavailable("store", "the disk is gone")
        return await super().rollout(rollout_id)


class Looked(MemoryStore):
    """Counts the looks of a watcher."""

    looks = 0

    async def events(
        self, *, rollout_id: str | None = None, model_name: str | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[events.Stored]:
        self.looks += 1
        return await super().events(rollout_id=rollout_id, model_name=model_name, after=after, limit=limit)


def messages(text: str) -> list[tuple[str, str | None, Any]]:
    """(kind, id, data) of each; heartbeats left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


async def move(store: MemoryStore, phase: model.Phase, *said: str) -> None:
    rollout = await store.rollout("r1")
    moved = replace(rollout, status=replace(rollout.status, phase=phase))
    await store.save(moved, None, [events.Event("r1", "delay", NOW, events.Kind.PHASE, each) for each in said])


async def begin(client: httpx.AsyncClient) -> None:
    assert (await client.post("/rollouts", json={"model": "delay", "version": 2})).status_code == 202


async def watched(changes: broadcast.Broadcast) -> None:
    async with asyncio.timeout(5):
        while not changes.readers:
            await asyncio.sleep(0)


async def test_an_ended_rollout_is_told_whole_and_ends(
    client: httpx.AsyncClient, store: MemoryStore, changes: broadcast.Broadcast
) -> None:
    await begin(client)
    await move(store, model.Phase.FAILED, "It never became ready.")
    answer = await client.get("/rollouts/r1/watch")
    assert answer.headers["content-type"].startswith("text/event-stream")
    state, first, second, end = messages(answer.text)
    assert (state[0], state[1], state[2]) == ("state", None, (await client.get("/rollouts/r1")).json())
    assert [(first[0], first[1]), (second[0], second[1])] == [("event", "1"), ("event", "2")]
    assert second[2]["sentence"] == "It never became ready."
    assert end == ("end", None, {"outcome": "failed"})
    assert changes.readers == 0


async def test_every_change_is_told_when_it_happens(
    client: httpx.AsyncClient, store: MemoryStore, changes: broadcast.Broadcast
) -> None:
    await begin(client)
    watching = asyncio.create_task(client.get("/rollouts/r1/watch"))
    await watched(changes)
    await client.post("/rollouts/r1/pause", json={"reason": "lunch"})
    for phase in (model.Phase.STARTING, model.Phase.PROGRESSING, model.Phase.ROLLED_BACK):
        await asyncio.sleep(0.01)
        await move(store, phase, f"Now {phase}.")
        changes.publish("delay")
    told = messages((await watching).text)
    assert [data["phase"] for kind, _, data in told if kind == "state"][-3:] == ["starting", "progressing", "rolled_back"]
    assert [(number, data["seq"]) for kind, number, data in told if kind == "event"] == [(str(n), n) for n in range(1, 6)]
    assert told[-1] == ("end", None, {"outcome": "rolled_back"})
    kinds = [kind for kind, _, _ in told]
    assert kinds.index("event") == 1, "the state comes first"
    assert kinds[-2] == "state", "facts come before the state that they led to"


async def test_a_reconnecting_reader_goes_on_where_it_was(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await begin(client)
    await move(store, model.Phase.STARTING, "two", "three")
    await move(store, model.Phase.FAILED, "four")
    for query, headers in (("", {"Last-Event-ID": "2"}), ("?after=2", {}), ("?after=1", {"Last-Event-ID": "2"})):
        told = messages((await client.get(f"/rollouts/r1/watch{query}", headers=headers)).text)
        assert [data["sentence"] for kind, _, data in told if kind == "event"] == ["three", "four"]
    assert (await client.get("/rollouts/r1/watch", headers={"Last-Event-ID": "x"})).status_code == 422


async def test_silence_is_filled_with_heartbeats_and_a_look(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    store = Looked()
    async with connect(replace(parts, store=store)) as client:
        await begin(client)
        watching = asyncio.create_task(client.get("/rollouts/r1/watch"))
        async with asyncio.timeout(5):
            while store.looks < 3:
                await asyncio.sleep(0.01)
        await move(store, model.Phase.FAILED, "Nobody was told.")  # no publish
        answer = await asyncio.wait_for(watching, 5)
    assert ": still here\n\n" in answer.text
    assert messages(answer.text)[-1][0] == "end"


async def test_a_stopping_server_ends_the_streams(client: httpx.AsyncClient, changes: broadcast.Broadcast) -> None:
    await begin(client)
    watching = asyncio.create_task(client.get("/rollouts/r1/watch"))
    await watched(changes)
    changes.close()
    assert "event: end" not in (await asyncio.wait_for(watching, 5)).text
    assert (await asyncio.wait_for(client.get("/rollouts/r1/watch"), 5)).text == ""


async def test_a_dying_store_ends_the_stream_with_a_problem(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    async with connect(replace(parts, store=Dying())) as client:
        await begin(client)
        told = messages((await client.get("/rollouts/r1/watch")).text)
    assert told[-1][0] == "error"
    assert told[-1][2]["detail"] == "store: the disk is gone"


async def test_too_many_readers_are_refused(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    async with connect(replace(parts, changes=broadcast.Broadcast(limit=0))) as client:
        await begin(client)
        answer = await client.get("/rollouts/r1/watch")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:slipway:problem:too-many-watchers"


async def test_changes_between_two_waits_are_told_once_and_only_to_their_model() -> None:
    changes = broadcast.Broadcast()
    changes.publish("nobody listens")
    with changes.subscribe("delay") as reader, changes.subscribe("taxi") as other:
        for _ in range(1000):
            changes.publish("delay")
        assert await reader.wait(1)
        assert not await reader.wait(0.01)
        assert not await other.wait(0.01)
        assert changes.readers == 2
    assert changes.readers == 0
