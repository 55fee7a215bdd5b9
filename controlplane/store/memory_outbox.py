"""The outbox in memory, for tests: the same promises as `sql_outbox`, held by the same contract suite."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from controlplane.notifications.outbox import Letter, Owed
from rollout import events, ports

from .sql_outbox import NOT_KNOWN


class MemoryOutbox:
    """Beside the store whose history it tells."""

    def __init__(self, store: ports.Store) -> None:
        self._store = store
        self._cursors: dict[str, int] = {}
        self._letters: dict[int, Letter] = {}
        self._ids = itertools.count(1)

    async def collect(self, receiver: str, wanted: Callable[[events.Event], bool], now: datetime, *, limit: int) -> int:
        if receiver not in self._cursors:
            known = await self._store.events(limit=10**9)
            self._cursors[receiver] = known[-1].seq if known else 0
            return 0
        found = await self._store.events(after=self._cursors[receiver], limit=limit)
        for stored in found:
            if wanted(stored.event):
                made = Letter(next(self._ids), receiver, stored, due_at=now, since=now)
                self._letters[made.id] = made
            self._cursors[receiver] = stored.seq
        return len(found)

    async def first(self, receiver: str) -> Letter | None:
        waiting = [one for one in self._letters.values() if one.receiver == receiver and not one.dead]
        return min(waiting, key=lambda one: (one.due_at, one.id), default=None)

    async def sent(self, letter_id: int) -> None:
        self._letters.pop(letter_id, None)

    async def put_off(self, letter_id: int, due_at: datetime, error: str) -> None:
        self._change(letter_id, lambda one: replace(one, due_at=due_at, error=error, attempts=one.attempts + 1))

    async def bury(self, letter_id: int, now: datetime, error: str) -> None:
        self._change(letter_id, lambda one: replace(one, dead=True, since=now, error=error, attempts=one.attempts + 1))

    def _change(self, letter_id: int, changed: Callable[[Letter], Letter]) -> None:
        if letter_id in self._letters:
            self._letters[letter_id] = changed(self._letters[letter_id])

    async def dead(self, *, receiver: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[Letter]:
        return [
            one
            for number, one in sorted(self._letters.items(), reverse=True)
            if one.dead and receiver in (None, one.receiver) and (before is None or number < before)
        ][:limit]

    async def revive(self, now: datetime, *, letter_id: int | None = None, receiver: str | None = None) -> int:
        meant = [one for one in await self.dead(receiver=receiver, limit=10**9) if letter_id in (None, one.id)]
        for one in meant:
            self._letters[one.id] = replace(one, dead=False, due_at=now, since=now, attempts=0)
        return len(meant)

    async def owed(self) -> Mapping[str, Owed]:
        found: dict[str, Owed] = {}
        for one in self._letters.values():
            known = found.get(one.receiver, Owed())
            found[one.receiver] = Owed(known.waiting + (not one.dead), known.dead + one.dead)
        return found

    async def retire(self, known: Collection[str], now: datetime) -> None:
        self._cursors = {name: seq for name, seq in self._cursors.items() if name in known}
        for one in list(self._letters.values()):
            if one.receiver not in known and not one.dead:
                self._letters[one.id] = replace(one, dead=True, since=now, error=NOT_KNOWN)

    async def forget(self, before: datetime) -> int:
        old = [number for number, one in self._letters.items() if one.dead and one.since < before]
        for number in old:
            del self._letters[number]
        return len(old)
