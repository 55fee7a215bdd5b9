"""One suite for both pasts: what `controlplane.history.Past` promises, in SQL and in memory alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.history import Page, Past
from controlplane.store import memory_past, sql, sql_past
from judge.samples import Sample
from judge.selfcheck import Reading

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def page(minutes: int, model: str = "delay", version: int = 2) -> Page:
    at = NOW + minutes * MINUTE
    samples = (
        Sample("g@1", 4, version, 500 + minutes, 3, replica="127.0.0.1:3001", latency=((90, 480), (120, 17 + minutes))),
        Sample(
            "g@1",
            4,
            version,
            400,
            0,
            replica="127.0.0.1:3002",
            answers=((1, 300), (2, 100)),
            labelled=20,
            wrong=1,
            lost=2,
            won=3,
        ),
    )
    return Page(model, version, at, tuple(Reading(at.timestamp() - back, samples) for back in (10.0, 0.0)))


@pytest.fixture(params=["memory", "sql"])
async def past(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Past]:
    if request.param == "memory":
        yield memory_past.MemoryPast()
        return
    opened = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
    try:
        yield sql_past.SqlPast(opened)
    finally:
        await opened.close()


async def test_pages_come_back_as_they_were(past: Past) -> None:
    for each in (page(0), page(1), page(0, model="other")):
        await past.add(each, since=NOW - MINUTE)
    assert list(await past.pages("delay", 2, since=NOW)) == [page(0), page(1)]
    assert list(await past.pages("delay", 2, since=NOW + MINUTE)) == [page(1)]
    assert list(await past.pages("delay", 3, since=NOW)) == []
    assert list(await past.pages("unheard-of", 2, since=NOW)) == []


async def test_old_pages_and_those_of_former_champions_are_forgotten(past: Past) -> None:
    for minutes in range(5):
        await past.add(page(minutes), since=NOW + (minutes - 2) * MINUTE)
    assert list(await past.pages("delay", 2, since=NOW)) == [page(2), page(3), page(4)]
    await past.add(page(9, model="other"), since=NOW + 9 * MINUTE)
    assert len(await past.pages("delay", 2, since=NOW)) == 3, "of that model alone"
    await past.add(replace(page(5), version=3), since=NOW)
    assert list(await past.pages("delay", 2, since=NOW)) == []
    assert len(await past.pages("delay", 3, since=NOW)) == 1


async def test_the_past_survives_a_restart(tmp_path: Path) -> None:
    for expected in (0, 1):
        opened = await sql.SqlStore.open(f"sqlite:///{tmp_path / 'slipway.db'}")
        try:
            past = sql_past.SqlPast(opened)
            assert len(await past.pages("delay", 2, since=NOW)) == expected
            await past.add(page(0), since=NOW)
        finally:
            await opened.close()
