"""One suite for both outboxes: what `controlplane.notifications.outbox.Outbox` promises, in SQL and in memory alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.notifications.outbox import Letter, Outbox, Owed
from controlplane.store import memory, memory_outbox, sql, sql_outbox
from rollout import events, ports

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)


@dataclass(frozen=True)
class Kept:
    store: ports.Store
    outbox: Outbox

    async def happens(self, *sentences: str, kind: events.Kind = events.Kind.PHASE) -> None:
        facts = [events.Event("r1", "delay", NOW, kind, sentence, data={"phase": "x"}) for sentence in sentences]
        await self.store.save(None, None, facts)

    async def collect(self, receiver: str = "team", limit: int = 100) -> int:
        return await self.outbox.collect(receiver, lambda event: event.kind is events.Kind.PHASE, NOW, limit=limit)

    async def told(self, receiver: str = "team") -> list[str]:
        """In the order of their turns; takes them all."""
        found = []
        while (letter := await self.outbox.first(receiver)) is not None:
            found.append(letter.stored.event.sentence)
            await self.outbox.sent(letter.id)
        return found

    async def one(self, receiver: str = "team") -> Letter:
        letter = await self.outbox.first(receiver)
        assert letter is not None
        return letter


@pytest.fixture(params=["memory", "sql"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    if request.param == "memory":
        store = memory.MemoryStore()
        yield Kept(store, memory_outbox.MemoryOutbox(store))
        return
    opened = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
    try:
        yield Kept(opened, sql_outbox.SqlOutbox(opened))
    finally:
        await opened.close()


async def test_a_new_receiver_hears_of_what_happens_from_now_on(kept: Kept) -> None:
    await kept.happens("long ago")
    assert await kept.collect() == 0
    assert await kept.told() == []
    await kept.happens("first", "second")
    await kept.happens("not wanted", kind=events.Kind.VERDICT)
    await kept.happens("third")
    assert await kept.collect() == 4
    assert await kept.collect() == 0, "nothing is told twice"
    assert await kept.told() == ["first", "second", "third"]


async def test_an_empty_history_has_a_beginning_too(kept: Kept) -> None:
    assert await kept.collect() == 0
    await kept.happens("first")
    assert await kept.collect() == 1
    assert await kept.told() == ["first"]


async def test_the_history_is_looked_through_in_pieces(kept: Kept) -> None:
    await kept.collect()
    await kept.happens("1", "2", "3")
    assert [await kept.collect(limit=2), await kept.collect(limit=2), await kept.collect(limit=2)] == [2, 1, 0]
    assert await kept.told() == ["1", "2", "3"]


async def test_each_receiver_has_its_own(kept: Kept) -> None:
    await kept.collect("team")
    await kept.happens("one")
    await kept.collect("boss")
    await kept.happens("two")
    await kept.collect("team")
    await kept.collect("boss")
    assert await kept.told("team") == ["one", "two"]
    assert await kept.told("boss") == ["two"]


async def test_a_letter_carries_its_event_and_the_same_key_for_ever(kept: Kept) -> None:
    await kept.collect()
    await kept.happens("first")
    await kept.collect()
    (stored,) = await kept.store.events()
    letter = await kept.one()
    assert letter == Letter(letter.id, "team", stored, due_at=NOW, since=NOW)
    await kept.outbox.put_off(letter.id, LATER, "it answered 503")
    again = await kept.one()
    assert (again.attempts, again.due_at, again.since, again.error) == (1, LATER, NOW, "it answered 503")
    await kept.outbox.bury(letter.id, LATER, "it answered 404")
    await kept.outbox.revive(LATER)
    assert again.key == letter.key == (await kept.one()).key == f"r1-{stored.seq}-team"


async def test_what_is_put_off_lets_others_go_first(kept: Kept) -> None:
    await kept.collect()
    await kept.happens("first", "second")
    await kept.collect()
    await kept.outbox.put_off((await kept.one()).id, LATER, "no")
    assert await kept.told() == ["second", "first"]


async def test_dead_letters_are_listed_newest_first_and_can_be_sent_again(kept: Kept) -> None:
    for receiver in ("team", "boss"):
        await kept.collect(receiver)
    await kept.happens("first", "second", "third")
    for receiver in ("team", "boss"):
        await kept.collect(receiver)
    for _ in range(3):
        await kept.outbox.bury((await kept.one()).id, LATER, "gone")
    assert await kept.outbox.first("team") is None
    assert await kept.outbox.owed() == {"team": Owed(0, 3), "boss": Owed(3, 0)}
    dead = await kept.outbox.dead()
    assert [one.stored.event.sentence for one in dead] == ["third", "second", "first"]
    assert [(one.dead, one.error, one.attempts, one.since) for one in dead] == [(True, "gone", 1, LATER)] * 3
    assert list(await kept.outbox.dead(before=dead[0].id, limit=1)) == [dead[1]]
    assert list(await kept.outbox.dead(receiver="boss")) == []
    assert await kept.outbox.revive(NOW, letter_id=dead[1].id) == 1
    assert await kept.outbox.revive(NOW, letter_id=dead[1].id) == 0, "it lives already"
    alive = await kept.one()
    assert (alive.id, alive.attempts, alive.since, alive.dead) == (dead[1].id, 0, NOW, False)
    assert await kept.outbox.revive(NOW, receiver="boss") == 0
    assert await kept.outbox.revive(NOW, receiver="team") == 2
    assert await kept.told() == ["first", "second", "third"]
    assert await kept.outbox.owed() == {"boss": Owed(3, 0)}


async def test_who_is_not_configured_any_more_is_owed_nothing_and_starts_anew(kept: Kept) -> None:
    await kept.collect("team")
    await kept.collect("boss")
    await kept.happens("first")
    await kept.collect("team")
    await kept.collect("boss")
    await kept.outbox.retire(["team"], LATER)
    await kept.happens("while it was away")
    (left,) = await kept.outbox.dead()
    assert (left.receiver, left.error) == ("boss", "the receiver is not configured any more")
    assert await kept.collect("boss") == 0
    assert await kept.outbox.first("boss") is None
    await kept.collect("team")
    assert await kept.told() == ["first", "while it was away"]


async def test_old_dead_letters_are_forgotten_and_others_are_not(kept: Kept) -> None:
    await kept.collect()
    await kept.happens("old", "young", "waiting")
    await kept.collect()
    await kept.outbox.bury((await kept.one()).id, NOW, "gone")
    await kept.outbox.bury((await kept.one()).id, LATER, "gone")
    assert await kept.outbox.forget(LATER) == 1
    assert [one.stored.event.sentence for one in await kept.outbox.dead()] == ["young"]
    assert await kept.told() == ["waiting"]


async def test_what_is_not_there_any_more_harms_nobody(kept: Kept) -> None:
    await kept.outbox.sent(7)
    await kept.outbox.put_off(7, NOW, "no")
    await kept.outbox.bury(7, NOW, "no")
    assert await kept.outbox.owed() == {}
