"""One suite for both ledgers: what `controlplane.drift.ledger.Ledger` promises, in SQL and in memory alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.drift.ledger import Judged, Key, Ledger
from controlplane.store import memory, memory_drift, sql, sql_drift
from monitoring.drift.verdict import Label, Verdict
from monitoring.drift.windows import Slice
from rollout import events, ports

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY = Key("delay", 3, "abc")
CURSOR = {("127.0.0.1:1", "p1"): (1, 2, 3), ("127.0.0.1:2", "p2"): (4, 5, 6)}


def part(minutes: int, *counts: int) -> Slice:
    return Slice(NOW + minutes * MINUTE, NOW + (minutes + 1) * MINUTE, sum(counts), counts)


@dataclass(frozen=True)
class Kept:
    store: ports.Store
    ledger: Ledger


@pytest.fixture(params=["memory", "sql"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    if request.param == "memory":
        store = memory.MemoryStore()
        yield Kept(store, memory_drift.MemoryLedger(store))
        return
    opened = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
    try:
        yield Kept(opened, sql_drift.SqlLedger(opened))
    finally:
        await opened.close()


async def test_slices_and_cursor_are_kept_per_version_and_profile(kept: Kept) -> None:
    assert await kept.ledger.cursor(KEY) == {}
    await kept.ledger.add(KEY, part(0, 1, 2), CURSOR)
    await kept.ledger.add(KEY, None, {**CURSOR, ("x", "p3"): (7,)})
    await kept.ledger.add(KEY, part(1, 3, 4), CURSOR)
    other = replace(KEY, profile="def")
    await kept.ledger.add(other, part(0, 9), {})
    assert list(await kept.ledger.slices(KEY, NOW)) == [part(0, 1, 2), part(1, 3, 4)]
    assert list(await kept.ledger.slices(KEY, NOW + 1.5 * MINUTE)) == [part(1, 3, 4)]
    assert await kept.ledger.cursor(KEY) == CURSOR
    assert await kept.ledger.cursor(other) == {}


async def test_what_is_retired_is_gone(kept: Kept) -> None:
    other = Key("delay", 4, "abc")
    for key in (KEY, other):
        await kept.ledger.add(key, part(0, 1), CURSOR)
    await kept.ledger.retire([other])
    assert (list(await kept.ledger.slices(KEY, NOW)), await kept.ledger.cursor(KEY)) == ([], {})
    assert len(await kept.ledger.slices(other, NOW)) == 1


async def test_verdicts_and_events_are_written_together(kept: Kept) -> None:
    first = Judged("delay", 3, NOW, NOW - MINUTE, NOW, Verdict(Label.NONE, "No drift.", 500, clocks=(("hour", "declared"),)))
    second = replace(
        first, at=NOW + MINUTE, verdict=Verdict(Label.HARMFUL, "Harmful.", 600, ("temp",), 1.5), comparison="Traffic."
    )
    fact = events.Event("", "delay", NOW, events.Kind.DRIFT_ALARM, "Harmful.", data={"version": 3})
    await kept.ledger.record(first)
    await kept.ledger.record(second, [fact])
    await kept.ledger.record(replace(first, version=4))
    found = await kept.ledger.history("delay", 3)
    assert [entry.judged for entry in found] == [second, first]
    assert [entry.judged for entry in await kept.ledger.history("delay", 3, before=found[0].seq)] == [first]
    assert len(await kept.ledger.history("delay", 3, limit=1)) == 1
    assert [stored.event for stored in await kept.store.events(model_name="delay")] == [fact]


async def test_what_is_old_is_forgotten(kept: Kept) -> None:
    for minutes in range(4):
        await kept.ledger.add(KEY, part(minutes, 1), {})
        await kept.ledger.record(Judged("delay", 3, NOW + minutes * MINUTE, None, None, Verdict(Label.NONE, "", 1)))
    assert await kept.ledger.forget(slices=NOW + 2.5 * MINUTE, history=NOW + MINUTE) == 2 + 1
    assert len(await kept.ledger.slices(KEY, NOW)) == 2
    assert len(await kept.ledger.history("delay", 3)) == 3
