"""One suite for both stores: what `rollout.ports.Store` promises, in SQL and in memory alike."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.store import memory, sql
from judge import decide, evidence, policy, samples
from judge import verdict as verdicts
from rollout import commands, events, model, ports

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


@asynccontextmanager
async def _memory(_: Path) -> AsyncIterator[ports.Store]:
    yield memory.MemoryStore()


@asynccontextmanager
async def _sql(folder: Path) -> AsyncIterator[ports.Store]:
    store = await sql.SqlStore.open(f"sqlite:///{folder / 'slipway.db'}")
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=[_memory, _sql], ids=["memory", "sql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ports.Store]:
    opened: Callable[[Path], AbstractAsyncContextManager[ports.Store]] = request.param
    async with opened(tmp_path) as made:
        yield made


def queued(rollout_id: str, name: str = "delay", version: int = 2) -> model.Rollout:
    return commands.new_rollout(model.Spec(name, version, champion=1), rollout_id, NOW)


def ended(rollout: model.Rollout) -> model.Rollout:
    return replace(rollout, status=replace(rollout.status, phase=model.Phase.FAILED, ended_at=NOW, reason="Never ready."))


def fact(rollout_id: str, sentence: str = "It was asked for.", name: str = "delay") -> events.Event:
    return events.Event(rollout_id, name, NOW, events.Kind.REQUESTED, sentence, actor="ann", data={"n": 1, "list": [1, 2]})


def sentences(stored: Sequence[events.Stored]) -> list[str]:
    return [each.event.sentence for each in stored]


async def test_an_empty_store_knows_nothing(store: ports.Store) -> None:
    assert list(await store.records()) == []
    assert await store.record("delay") is None
    assert await store.open_rollout("delay") is None
    assert list(await store.rollouts()) == []
    assert list(await store.events()) == []
    assert await store.recall("key") is None
    with pytest.raises(ports.NotFound, match="no rollout r1"):
        await store.rollout("r1")
    with pytest.raises(ports.NotFound, match="no rollout r1"):
        await store.rollouts(before="r1")


async def test_created_is_found_again_with_its_record_and_facts(store: ports.Store) -> None:
    made = queued("r1")
    await store.create(made, [fact("r1")], idempotency=ports.Idempotency("key", "print", "r1"))
    assert await store.rollout("r1") == replace(made, revision=1)
    assert await store.open_rollout("delay") == replace(made, revision=1)
    assert await store.record("delay") == model.ModelRecord("delay", revision=1)
    assert await store.current("delay") == (model.ModelRecord("delay", revision=1), replace(made, revision=1))
    assert await store.current("unheard-of") == (None, None)
    assert list(await store.events(rollout_id="r1")) == [events.Stored(1, fact("r1"))]
    assert await store.recall("key") == ports.Idempotency("key", "print", "r1")


async def test_everything_a_rollout_can_hold_comes_back_as_it_was(store: ports.Store) -> None:
    finding = verdicts.Finding(
        guard="error_rate",
        label=verdicts.Label.INSUFFICIENT,
        sentence="Zürich ≤ 1 % — not yet \U0001f6a2",
        effect=verdicts.Effect(math.inf, 0.1 + 0.2, None),
        evidence=-math.inf,
        threshold=2.0,
        promotion_evidence=1e-300,
        promotion_threshold=1.3,
        p_value=1.0,
        champion_requests=2**40,
        champion_errors=0,
        challenger_requests=3,
        challenger_errors=1,
    )
    zone = NOW.astimezone().tzinfo
    asked = model.Requests(pause=model.Intent("ann", NOW, "lunch"), abort=model.Intent("bob", NOW.astimezone(zone)))
    status = model.Status(
        phase=model.Phase.PROGRESSING,
        phase_since=NOW,
        step=2,
        step_since=NOW + timedelta(microseconds=1),
        holds=(model.Hold(model.HoldReason.BLIND, NOW, "no counts"),),
        verdict=verdicts.Verdict("judge 1", verdicts.Label.INSUFFICIENT, (finding,)),
    )
    steps = (model.Step(3, requests=7, min_s=0.1), model.Step(100))
    full = model.Rollout("r1", NOW, model.Spec("delay", 2, None, steps=steps, note="é\n"), asked, status)
    await store.create(full, [])
    assert await store.rollout("r1") == replace(full, revision=1)


async def test_the_judges_memory_comes_back_exactly(store: ports.Store) -> None:
    """A bit lost would change a later verdict."""
    rules, state = policy.Policy(), evidence.fresh(7)
    for reading in range(1, 40):
        counts = tuple(
            samples.Sample(
                f"gw@{reading // 20}", 1 + reading // 15, version, 37 * reading % 1000 + 90 * reading, reading * version
            )
            for version in (1, 2)
        )
        state, verdict = decide.decide(rules, state, counts, champion=1, challenger=2)
    made = queued("r1")
    made = replace(made, status=replace(made.status, judge=state, verdict=verdict))
    await store.create(made, [])
    assert (await store.rollout("r1")).status == made.status


async def test_one_open_rollout_per_model(store: ports.Store) -> None:
    await store.create(queued("r1"), [fact("r1")])
    with pytest.raises(ports.AlreadyOpen, match="r1") as caught:
        await store.create(queued("r2"), [fact("r2")], idempotency=ports.Idempotency("key", "print", "r2"))
    assert caught.value.rollout_id == "r1"
    assert len(await store.events()) == 1
    assert await store.recall("key") is None
    await store.create(queued("other", name="taxi"), [])
    await store.save(ended(await store.rollout("r1")), None, [])
    await store.create(queued("r2"), [])
    assert (await store.record("delay")) == model.ModelRecord("delay", revision=1), "the record is made once"


async def test_an_id_or_a_key_is_taken_once(store: ports.Store) -> None:
    key = ports.Idempotency("key", "print", "r1")
    await store.create(ended(queued("r1")), [], idempotency=key)
    with pytest.raises(ports.Stale):
        await store.create(queued("r1"), [fact("r1")])
    with pytest.raises(ports.Stale):
        await store.create(queued("r2"), [fact("r2")], idempotency=key)
    with pytest.raises(ports.Stale):
        await store.save(await store.rollout("r1"), None, [fact("r1")], idempotency=key)
    assert [each.id for each in await store.rollouts()] == ["r1"]
    assert (await store.rollout("r1")).revision == 1
    assert list(await store.events()) == []


async def test_save_swaps_both_and_raises_both_revisions(store: ports.Store) -> None:
    await store.create(queued("r1"), [])
    rollout, record = await store.rollout("r1"), await store.record("delay")
    assert record is not None
    key = ports.Idempotency("key", "print", "r1")
    record = replace(record, champion=2, split=model.Split.of({1: 95, 2: 5}), epoch=3)
    await store.save(ended(rollout), record, [fact("r1", "one"), fact("r1", "two")], idempotency=key)
    assert await store.rollout("r1") == replace(ended(rollout), revision=2)
    assert await store.record("delay") == replace(record, revision=2)
    assert await store.open_rollout("delay") is None
    assert sentences(await store.events()) == ["one", "two"]
    assert await store.recall("key") == key


def reading(seconds: float) -> model.Reading:
    counted = samples.Sample("edge@1", 4, 2, 900, 7, replica="127.0.0.1:3001", latency=((90, 500), (91, 393)))
    return model.Reading(NOW + timedelta(seconds=seconds), model.Phase.PROGRESSING, (counted,))


async def test_what_the_judge_was_given_is_kept_with_what_it_made_of_it(store: ports.Store) -> None:
    await store.create(queued("r1"), [])
    for number in range(3):
        await store.save(await store.rollout("r1"), None, [], reading=reading(number))
    assert tuple(await store.readings("r1")) == tuple(reading(number) for number in range(3))
    assert tuple(await store.readings("r2")) == ()


async def test_a_reading_whose_state_was_not_saved_is_not_kept_either(store: ports.Store) -> None:
    await store.create(queued("r1"), [])
    stale = replace(await store.rollout("r1"), revision=7)
    with pytest.raises(ports.Stale):
        await store.save(stale, None, [], reading=reading(0))
    assert tuple(await store.readings("r1")) == ()


async def test_old_readings_of_ended_rollouts_are_forgotten(store: ports.Store) -> None:
    for rollout_id, name in (("r1", "delay"), ("r2", "price")):
        await store.create(queued(rollout_id, name), [])
        for number in (0, 10):
            await store.save(await store.rollout(rollout_id), None, [], reading=reading(number))
    await store.save(ended(await store.rollout("r1")), None, [])
    assert await store.forget_readings(NOW + timedelta(seconds=5)) == 1
    assert tuple(await store.readings("r1")) == (reading(10),)
    assert len(await store.readings("r2")) == 2, "it is still open"


async def test_a_key_alone_can_be_saved(store: ports.Store) -> None:
    key = ports.Idempotency("key", "print", "r1")
    await store.save(None, None, [], idempotency=key)
    assert await store.recall("key") == key


@pytest.mark.parametrize("stale", ["rollout", "record", "unknown rollout", "new record that is there"])
async def test_a_stale_save_writes_nothing(store: ports.Store, stale: str) -> None:
    await store.create(queued("r1"), [])
    rollout, record = await store.rollout("r1"), await store.record("delay")
    assert record is not None
    before = rollout, record
    if stale == "rollout":
        rollout = replace(rollout, revision=0)
    elif stale == "record":
        record = replace(record, revision=2)
    elif stale == "unknown rollout":
        rollout = replace(rollout, id="r2")
    else:
        record = replace(record, revision=0)
    with pytest.raises(ports.Stale):
        await store.save(
            ended(rollout), replace(record, epoch=9), [fact("r1")], idempotency=ports.Idempotency("key", "print", "r1")
        )
    assert (await store.rollout("r1"), await store.record("delay")) == before
    assert list(await store.events()) == []
    assert await store.recall("key") is None


async def test_a_record_of_revision_0_is_new(store: ports.Store) -> None:
    await store.save(None, model.ModelRecord("taxi", champion=1), [])
    await store.save(None, model.ModelRecord("delay"), [])
    assert [each.model for each in await store.records()] == ["delay", "taxi"]
    assert await store.record("taxi") == model.ModelRecord("taxi", champion=1, revision=1)


async def test_lists_are_newest_first_and_paged(store: ports.Store) -> None:
    for number in range(1, 6):
        await store.create(queued(f"r{number}"), [])
        if number < 5:
            await store.save(ended(await store.rollout(f"r{number}")), None, [])
    await store.create(queued("a-taxi", name="taxi"), [])

    async def ids(
        name: str | None = None, *, open_only: bool = False, limit: int = 100, before: str | None = None
    ) -> list[str]:
        return [each.id for each in await store.rollouts(name, open_only=open_only, limit=limit, before=before)]

    assert await ids() == ["a-taxi", "r5", "r4", "r3", "r2", "r1"]
    assert await ids("delay", limit=2) == ["r5", "r4"]
    assert await ids("delay", limit=2, before="r4") == ["r3", "r2"]
    assert await ids("delay", limit=2, before="r2") == ["r1"]
    assert await ids(open_only=True) == ["a-taxi", "r5"]
    assert await ids("delay", open_only=True, before="r5") == []


async def test_events_are_oldest_first_and_paged(store: ports.Store) -> None:
    await store.create(queued("r1"), [fact("r1", "a"), fact("r1", "b")])
    await store.create(queued("t1", name="taxi"), [fact("t1", "c", name="taxi")])
    await store.save(None, None, [fact("r1", "d")])
    assert sentences(await store.events()) == ["a", "b", "c", "d"]
    assert sentences(await store.events(rollout_id="r1")) == ["a", "b", "d"]
    assert sentences(await store.events(model_name="taxi")) == ["c"]
    first = await store.events(model_name="delay", limit=2)
    assert sentences(first) == ["a", "b"]
    assert sentences(await store.events(model_name="delay", after=first[-1].seq)) == ["d"]
    seqs = [each.seq for each in await store.events()]
    assert seqs == sorted(set(seqs))


async def test_of_many_savers_of_one_revision_one_wins(store: ports.Store) -> None:
    await store.create(queued("r1"), [])
    rollout = await store.rollout("r1")
    tried = [store.save(rollout, None, [fact("r1", f"saver {number}")]) for number in range(20)]
    results = await asyncio.gather(*tried, return_exceptions=True)
    assert [type(each) for each in results].count(ports.Stale) == 19
    assert (await store.rollout("r1")).revision == 2
    assert len(await store.events()) == 1


async def test_of_many_starters_one_wins(store: ports.Store) -> None:
    tried = [store.create(queued(f"r{number}"), [fact(f"r{number}")]) for number in range(20)]
    results = await asyncio.gather(*tried, return_exceptions=True)
    assert [type(each) for each in results].count(ports.AlreadyOpen) == 19
    assert len(await store.rollouts()) == len(await store.events()) == 1
