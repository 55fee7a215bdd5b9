"""The champions' last hour: what waits in memory, and what was put away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from controlplane.history import MOST_WAITING, History, Page
from controlplane.store.memory_past import MemoryPast
from judge.samples import Sample
from rollout.ports import Unavailable

START = datetime(2026, 1, 1, tzinfo=UTC)


def counted(requests: int, version: int = 2) -> Sample:
    return Sample("g@1", 4, version, requests, 1, replica="127.0.0.1:3001", latency=((90, requests - 1),))


async def fed(history: History, seconds: range, version: int = 2) -> datetime:
    """One look after another; when the last was."""
    for second in seconds:
        at = START + timedelta(seconds=second)
        await history.feed("m", at, version, (counted(100 + second, version), counted(7, version=9)))
    return at


async def test_what_was_fed_comes_back_spaced_and_not_for_ever() -> None:
    history = History(MemoryPast())
    now = await fed(history, range(0, 5400, 4))
    readings = await history.readings("m", 2, now)
    times = [reading.at_s - START.timestamp() for reading in readings]
    assert all(later - sooner == 12.0 for sooner, later in pairwise(times))
    assert 3600.0 - 72.0 <= times[-1] - times[0] <= 3600.0 + 72.0, "an hour, but for a page"
    assert readings[-1].samples == (counted(100 + 5388),), "the champion's alone, as it was"


async def test_a_restart_forgets_a_minute_at_most() -> None:
    past = MemoryPast()
    now = await fed(History(past), range(0, 600, 5))
    restarted = History(past)
    assert 540.0 <= (await restarted.readings("m", 2, now))[-1].at_s - START.timestamp() <= 600.0
    now = await fed(restarted, range(600, 700, 5))
    times = [reading.at_s for reading in await restarted.readings("m", 2, now)]
    assert times == sorted(set(times))
    assert len(times) >= 60


async def test_another_champion_has_no_past_yet() -> None:
    history = History(MemoryPast())
    await fed(history, range(0, 300, 5))
    now = await fed(history, range(300, 320, 5), version=3)
    assert {sample.version for reading in await history.readings("m", 3, now) for sample in reading.samples} == {3}
    assert [reading.at_s for reading in await history.readings("m", 2, now)] != [], "until the next page of version 3"
    now = await fed(history, range(320, 400, 5), version=3)
    assert await history.readings("m", 2, now) == ()
    await history.feed("m", now, None, ())
    assert await history.readings("unheard-of", 2, now) == ()


class Away(MemoryPast):
    """A store that does not answer for a while."""

    away = True

    async def add(self, page: Page, *, since: datetime) -> None:
        if self.away:
            raise Unavailable("store", "the disk is full")
        await super().add(page, since=since)


async def test_what_cannot_be_put_away_waits_but_not_without_bound() -> None:
    past = Away()
    history = History(past)
    for second in range(0, 5400, 10):
        at = START + timedelta(seconds=second)
        if second < 50:
            await history.feed("m", at, 2, (counted(100 + second),))
            continue
        with pytest.raises(Unavailable):
            await history.feed("m", at, 2, (counted(100 + second),))
    assert len(await history.readings("m", 2, at)) == MOST_WAITING
    past.away = False
    await history.feed("m", at + timedelta(seconds=10), 2, (counted(9999),))
    (page,) = await past.pages("m", 2, since=START)
    assert len(page.readings) == MOST_WAITING
