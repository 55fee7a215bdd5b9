"""The ledger of drift in memory, for tests: the same promises as `sql_drift`, held by the same contract suite."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from controlplane.drift.ledger import Cursor, Entry, Judged, Key
from monitoring.drift.windows import Slice
from rollout import events, ports

from . import drift_bodies


class MemoryLedger:
    """Beside the store whose history it writes into."""

    def __init__(self, store: ports.Store) -> None:
        self._store = store
        self._slices: dict[Key, list[Slice]] = {}
        self._cursors: dict[Key, Cursor] = {}
        self._entries: list[Entry] = []
        self._made = 0

    async def add(self, key: Key, gained: Slice | None, cursor: Cursor) -> None:
        if gained is not None:
            self._slices.setdefault(key, []).append(gained)
        self._cursors[key] = dict(cursor)

    async def slices(self, key: Key, since: datetime) -> Sequence[Slice]:
        return [each for each in self._slices.get(key, ()) if each.end >= since]

    async def cursor(self, key: Key) -> Cursor:
        return self._cursors.get(key, {})

    async def record(self, judged: Judged, facts: Sequence[events.Event] = ()) -> None:
        self._made += 1
        kept = drift_bodies.load_judged(drift_bodies.dump_judged(judged))  # as SQL gives it back
        self._entries.append(Entry(self._made, kept))
        await self._store.save(None, None, facts)

    async def history(self, model: str, version: int, *, before: int | None = None, limit: int = 100) -> Sequence[Entry]:
        return [
            entry
            for entry in reversed(self._entries)
            if (entry.judged.model, entry.judged.version) == (model, version) and (before is None or entry.seq < before)
        ][:limit]

    async def retire(self, known: Collection[Key]) -> None:
        self._slices = {key: slices for key, slices in self._slices.items() if key in known}
        self._cursors = {key: cursor for key, cursor in self._cursors.items() if key in known}

    async def forget(self, *, slices: datetime, history: datetime) -> int:
        before = sum(map(len, self._slices.values())) + len(self._entries)
        self._slices = {key: [each for each in kept if each.end >= slices] for key, kept in self._slices.items()}
        self._entries = [entry for entry in self._entries if entry.judged.at >= history]
        return before - sum(map(len, self._slices.values())) - len(self._entries)
