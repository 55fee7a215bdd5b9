"""What the champions answered in the last hour, per model and replica: the judge's A/A self-check looks at it before a rollout.

Fed by each pass with the counts it read anyway. A minute of it waits in memory and is then put away as one page, so a restart forgets a minute
at most and a large fleet writes little; pages older than an hour, and those of former champions, are forgotten with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from judge.samples import Sample
from judge.selfcheck import Reading

KEPT = timedelta(hours=1)
SPACING = timedelta(
    seconds=10
)  # between readings that are kept: incidents last longer, and looks at idle models are about as far apart
PAGE_READINGS = 6
MOST_WAITING = 360  # while they cannot be put away


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a champion's readings, oldest first. at: of the last."""

    model: str
    version: int
    at: datetime
    readings: tuple[Reading, ...]


class Past(Protocol):
    """Where pages are put away. Raises Unavailable."""

    async def add(self, page: Page, *, since: datetime) -> None:
        """Keep the page, and forget the model's pages that are older than `since` or of another version, in one transaction."""
        ...

    async def pages(self, model: str, version: int, *, since: datetime) -> Sequence[Page]:
        """Oldest first."""
        ...


@dataclass(slots=True)
class _Waiting:
    """What is on no page yet, and when the last reading was kept."""

    version: int
    last: datetime
    readings: list[Reading]


class History:
    def __init__(self, past: Past) -> None:
        self._past = past
        self._waiting: dict[str, _Waiting] = {}

    async def feed(self, model: str, now: datetime, champion: int | None, samples: Iterable[Sample]) -> None:
        """The champion's part of these cumulative counts, if the last that was kept is old enough. Raises Unavailable; the page is then put
        away with a later one."""
        if champion is None:
            self._waiting.pop(model, None)
            return
        waiting = self._waiting.get(model)
        if waiting is None or waiting.version != champion:  # another version: its past says nothing about this one
            waiting = self._waiting[model] = _Waiting(champion, now - SPACING, [])
        if timedelta() <= now - waiting.last < SPACING:  # else the clock was set back
            return
        own = tuple(sample for sample in samples if sample.version == champion)
        waiting.last = now
        waiting.readings = [*waiting.readings[1 - MOST_WAITING :], Reading(now.timestamp(), own)]
        if len(waiting.readings) >= PAGE_READINGS:
            await self._past.add(Page(model, champion, now, tuple(waiting.readings)), since=now - KEPT)
            waiting.readings = []

    async def readings(self, model: str, champion: int, now: datetime) -> tuple[Reading, ...]:
        """Oldest first. Raises Unavailable."""
        pages = await self._past.pages(model, champion, since=now - KEPT)
        waiting = self._waiting.get(model)
        newest = waiting.readings if waiting is not None and waiting.version == champion else []
        return (*(reading for page in pages for reading in page.readings), *newest)
