"""What must survive of drift: slices of counts, how far they were read, and what was judged. SQL and memory pass one contract suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from monitoring.drift.verdict import Verdict
from monitoring.drift.windows import Slice
from rollout import events

Cursor = Mapping[tuple[str, str], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Key:
    """One version, and the fingerprint of the profile that its rows are counted by."""

    model: str
    version: int
    profile: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on a window of one version. comparison: against the champion (or the challenger) in the same window, in words."""

    model: str
    version: int
    at: datetime
    start: datetime | None
    end: datetime | None
    verdict: Verdict
    comparison: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A judgement with its place in the history."""

    seq: int
    judged: Judged


class Ledger(Protocol):
    """Every call is one transaction. Raises rollout.ports.Unavailable when the store is away."""

    async def add(self, key: Key, gained: Slice | None, cursor: Cursor) -> None:
        """A slice, if there is one, and how far the counters were read: together, so that no row counts twice after a crash."""
        ...

    async def slices(self, key: Key, since: datetime) -> Sequence[Slice]:
        """Those that ended at or after `since`, oldest first."""
        ...

    async def cursor(self, key: Key) -> Cursor:
        """As it was added last; empty at first."""
        ...

    async def record(self, judged: Judged, facts: Sequence[events.Event] = ()) -> None:
        """Into the history of drift, and the facts into that of the model."""
        ...

    async def history(self, model: str, version: int, *, before: int | None = None, limit: int = 100) -> Sequence[Entry]:
        """Newest first; `before` is a seq to page on."""
        ...

    async def retire(self, known: Collection[Key]) -> None:
        """Drop slices and cursors of all other keys; the history stays."""
        ...

    async def forget(self, *, slices: datetime, history: datetime) -> int:
        """Drop slices that ended, and judgements that were made, earlier than these. How many."""
        ...
