"""Notifications to real HTTP receivers that fail, hang, refuse and lie; from a real store, by the notifier as the control plane runs it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from aiohttp import web

from cli.stack import ports as free
from controlplane.broadcast import Broadcast
from controlplane.clock import SteadyClock
from controlplane.metrics.recorder import Recorder
from controlplane.notifications import receivers
from controlplane.notifications.notifier import Notifier
from controlplane.store import schema, sql, sql_outbox
from rollout import commands, events, model

SECRET = "B00-secret-part"
WAIT_S = 20.0

Behaviour = Callable[[web.Request, int], Awaitable[web.StreamResponse]]  # the request, and how many came before


@dataclass
class Hook:
    """A receiver. Remembers what it was sent, and when by its loop's clock; answers as it is told to."""

    url: str
    behaviour: Behaviour
    keys: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        number = len(self.keys)
        self.keys.append(request.headers["Idempotency-Key"])
        self.bodies.append(await request.json())
        self.at_s.append(asyncio.get_running_loop().time())
        return await self.behaviour(request, number)

    @property
    def told(self) -> list[str]:
        return [body["sentence"] for body in self.bodies]


async def ok(_: web.Request, __: int) -> web.StreamResponse:
    return web.Response(text="ok")


def codes(*answers: int, **headers: str) -> Behaviour:
    """One after the other, then 200."""

    async def answer(_: web.Request, number: int) -> web.StreamResponse:
        status = answers[number] if number < len(answers) else 200
        sent = {name.replace("_", "-"): value for name, value in headers.items()} if status >= 300 else {}
        return web.Response(status=status, text="no_service" if status >= 300 else "ok", headers=sent)

    return answer


async def hang(_: web.Request, __: int) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


@asynccontextmanager
async def hook(behaviour: Behaviour) -> AsyncIterator[Hook]:
    port = free.random_ports().mlflow
    made = Hook(f"http://127.0.0.1:{port}/services/{SECRET}", behaviour)
    application = web.Application()
    application.router.add_post(f"/services/{SECRET}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield made
    finally:
        await runner.cleanup()


class Plane:
    """As much of a control plane as notifications have to do with. `restart` ends the notifier as a new process would find it."""

    def __init__(self, store: sql.SqlStore, folder: Path) -> None:
        self.store = store
        self.outbox = sql_outbox.SqlOutbox(store)
        self.changes = Broadcast()
        self.folder = folder
        self.recorder = Recorder(clock=SteadyClock())
        self.notifier: Notifier | None = None
        self._numbers = itertools.count(1)

    async def start(self, entries: Sequence[dict[str, Any]]) -> Notifier:
        file = self.folder / "notify.yaml"
        file.write_text(yaml.safe_dump({"receivers": list(entries)}))
        self.notifier = Notifier(
            receivers.read(file),
            outbox=self.outbox,
            store=self.store,
            changes=self.changes,
            clock=SteadyClock(),
            recorder=self.recorder,
            chance=lambda: 1.0,  # as soon as may be
        )
        await self.notifier.start()
        return self.notifier

    async def stop(self) -> None:
        if self.notifier is not None:
            await self.notifier.stop()

    async def happens(self, sentence: str, kind: events.Kind = events.Kind.PHASE) -> None:
        now = datetime.now(UTC)  # noqa: TID251  any time will do
        number = next(self._numbers)
        if number == 1:
            await self.store.create(commands.new_rollout(model.Spec("delay", 2, champion=1), "r1", now), [])
        await self.store.save(None, None, [events.Event("r1", "delay", now, kind, sentence)])
        self.changes.publish("delay")

    async def settled(self) -> None:
        """All of the history was looked through, and nothing waits for anybody any more."""
        await until(self._nothing_waits)

    async def _nothing_waits(self) -> bool:
        newest = (await self.store.events())[-1].seq
        behind = sa.select(sa.func.count()).select_from(schema.cursors).where(schema.cursors.c.seq < newest)
        if await self.store.read(lambda connection: connection.execute(behind).scalar_one()):
            return False
        return not any(owed.waiting for owed in (await self.outbox.owed()).values())

    def outcomes(self, outcome: str) -> int:
        text = self.recorder.exposition(openmetrics=False)().decode()
        found = [line for line in text.splitlines() if line.startswith(f'slipway_notifications_total{{outcome="{outcome}"}}')]
        return int(float(found[0].split()[1])) if found else 0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.02)


def entry(of: Hook, name: str = "team", **changes: Any) -> dict[str, Any]:
    return {"name": name, "url": of.url, "format": "json", **changes}


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    store = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
    made = Plane(store, tmp_path)
    try:
        yield made
    finally:
        await made.stop()
        await store.close()


async def test_what_happens_is_told_in_its_order_and_once(plane: Plane) -> None:
    async with hook(ok) as chat, hook(ok) as program:
        await plane.start([entry(chat, format="slack"), entry(program, "program")])
        for number in range(5):
            await plane.happens(f"event {number}")
        await plane.happens("the judge thinks aloud", kind=events.Kind.VERDICT)
        await plane.settled()
        await until(lambda: _true(len(chat.bodies) == 5))
        assert chat.bodies == [{"text": f"*delay v2*: event {number}"} for number in range(5)]
        assert program.told == [f"event {number}" for number in range(5)]
        assert [body["id"] for body in program.bodies] == program.keys
        assert len({*chat.keys, *program.keys}) == 10
        assert plane.outcomes("sent") == 10


async def _true(found: bool) -> bool:
    return found


async def test_a_drift_alarm_tells_a_retraining_pipeline_what_it_needs_once(plane: Plane) -> None:
    """As the watcher writes it down: of no rollout, with the version in its data."""
    async with hook(ok) as chat, hook(ok) as program:
        await plane.start([entry(chat, format="slack"), entry(program, "train", events=["drift_alarm"])])
        data = {
            "version": 7,
            "label": "harmful",
            "before": "none",
            "columns": ["prediction", "temp"],
            "rows": 5000,
            "harm": 1.9,
        }
        now = datetime.now(UTC)  # noqa: TID251  any time will do
        alarm = events.Event("", "delay", now, events.Kind.DRIFT_ALARM, "Version 7: Harmful drift.", data=data)
        over = events.Event("", "delay", now, events.Kind.DRIFT, "Version 7: No drift.", data={**data, "label": "none"})
        await plane.store.save(None, None, [alarm, over])
        plane.changes.publish("delay")
        await plane.settled()
        (body,) = program.bodies
        assert (body["kind"], body["model"], body["version"]) == ("drift_alarm", "delay", 7)
        assert body["data"] == data
        assert body["sentence"] == "Version 7: Harmful drift."
        assert body["id"].startswith("delay-")
        assert chat.bodies == [{"text": "*delay v7*: Version 7: Harmful drift."}]


async def test_a_receiver_that_fails_is_tried_again_under_the_same_key(plane: Plane) -> None:
    async with hook(codes(500, 502)) as chat:
        notifier = await plane.start([entry(chat)])
        await plane.happens("it matters")
        await plane.settled()
        assert chat.told == ["it matters"] * 3
        assert len(set(chat.keys)) == 1
        first, second = (after - before for before, after in itertools.pairwise(chat.at_s))
        assert first >= 0.5, "half of the first wait, at the least"
        assert second >= 1.0, "half of the second"
        assert plane.outcomes("put_off") == 2
        assert notifier.last["team"].delivered


async def test_a_letter_that_is_not_liked_stops_no_other(plane: Plane) -> None:
    async def picky(request: web.Request, _: int) -> web.StreamResponse:
        return web.Response(status=500 if (await request.json())["sentence"] == "poison" else 200)

    async with hook(picky) as chat:
        await plane.start([entry(chat, give_up_s=2)])
        for sentence in ("poison", "one", "two"):
            await plane.happens(sentence)
        await plane.settled()
        assert [told for told in chat.told if told != "poison"] == ["one", "two"]
        assert [one.stored.event.sentence for one in await plane.outbox.dead()] == ["poison"]


async def test_too_many_requests_means_silence_for_as_long_as_it_says(plane: Plane) -> None:
    async with hook(codes(429, Retry_After="2")) as chat:
        await plane.start([entry(chat)])
        await plane.happens("one")
        await plane.happens("two")
        await plane.settled()
        assert chat.told == ["one", "one", "two"] or chat.told == ["one", "two", "one"]
        assert chat.at_s[1] - chat.at_s[0] >= 1.9, "nothing else is sent meanwhile either"


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
async def test_a_clear_no_is_not_asked_twice(plane: Plane, status: int) -> None:
    async with hook(codes(*[status] * 100, Location="http://127.0.0.1:1/elsewhere")) as chat:
        await plane.start([entry(chat)])
        await plane.happens("one")
        await plane.settled()
        (dead,) = await plane.outbox.dead()
        assert dead.error.startswith(f"it answered {status} ")
        assert dead.error.endswith(": no_service")
        assert len(chat.keys) == 1, "and a redirect is not followed"


async def test_dead_letters_can_be_sent_again(plane: Plane) -> None:
    async with hook(codes(404, 404)) as chat:
        notifier = await plane.start([entry(chat)])
        await plane.happens("one")
        await plane.happens("two")
        await plane.settled()
        assert len(await plane.outbox.dead()) == 2
        assert await notifier.send_again() == 2
        await plane.settled()
        assert list(await plane.outbox.dead()) == []
        assert chat.told == ["one", "two"] * 2
        assert chat.keys[:2] == chat.keys[2:]


async def test_receivers_that_hang_are_dead_or_never_end_keep_nobody_waiting(plane: Plane) -> None:
    async def drip(request: web.Request, _: int) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" ")
                await asyncio.sleep(0.1)
        return answer

    async with hook(hang) as hangs, hook(drip) as drips, hook(ok) as fine:
        nobody = Hook(f"http://127.0.0.1:{free.random_ports().mlflow}/x", ok)
        slow = {"timeout_s": 1, "give_up_s": 2}
        await plane.start([entry(hangs, "a", **slow), entry(nobody, "b", **slow), entry(drips, "c", **slow), entry(fine, "z")])
        loop = asyncio.get_running_loop()
        for number in range(20):
            began = loop.time()
            await plane.happens(f"event {number}")
            assert loop.time() - began < 0.9, "a save never waits for a receiver: the slowest takes a second to be given up"
        await until(lambda: _true(len(fine.keys) == 20))
        assert len(hangs.keys) <= 2
        await until(lambda: _true(len(drips.keys) == 20))
        await until(lambda: _all_dead(plane, {"a", "b"}, 1))
        errors = {one.receiver: one.error for one in await plane.outbox.dead(limit=1000)}
        assert errors == {"a": "no answer within 1 s", "b": "no connection (Connection refused)"}


async def _all_dead(plane: Plane, names: set[str], least: int) -> bool:
    owed = await plane.outbox.owed()
    return all(name in owed and owed[name].dead >= least for name in names)


async def test_the_next_process_sends_what_this_one_owed(plane: Plane) -> None:
    async with hook(hang) as chat:
        await plane.start([entry(chat)])
        await plane.happens("under way when it stopped")
        await until(lambda: _true(len(chat.keys) == 1))
        await plane.stop()
        plane.notifier = None
        await plane.happens("nobody was there to tell")
        chat.behaviour = ok
        await plane.start([entry(chat)])
        await plane.settled()
        assert chat.told == ["under way when it stopped", *["under way when it stopped", "nobody was there to tell"]]
        assert chat.keys[0] == chat.keys[1]


async def test_no_secret_is_logged_or_kept(plane: Plane, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def echo(request: web.Request, number: int) -> web.StreamResponse:
        return web.Response(status=404 if number else 500, text=f"{request.path} is not known: {SECRET}")

    with caplog.at_level(logging.DEBUG):
        async with hook(echo) as chat:
            notifier = await plane.start([entry(chat)])
            await plane.happens("one")
            await plane.settled()
            (dead,) = await plane.outbox.dead()
            assert dead.error == "it answered 404 Not Found"
            seen = [repr(notifier.last), repr(notifier.receivers), dead.error]
        lines = [json.dumps(vars(record), default=str) for record in caplog.records if not record.name.startswith("aiohttp")]
        assert lines, "it was told that a letter died"
        assert SECRET not in "".join([*lines, *seen])
    await plane.stop()
    assert all(SECRET.encode() not in file.read_bytes() for file in tmp_path.glob("slipway.db*"))
