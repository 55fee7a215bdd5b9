"""The store in memory, for tests and experiments: the same promises as `sql`, held by the same contract suite.

Nothing here awaits, so every call is one transaction. Keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from rollout import events, model, ports

from . import bodies


class MemoryStore:
    def __init__(self) -> None:
        self._records: dict[str, model.ModelRecord] = {}
        self._rollouts: dict[str, model.Rollout] = {}  # in the order they were made
        self._events: list[events.Stored] = []
        self._readings: dict[str, list[model.Reading]] = {}
        self._keys: dict[str, ports.Idempotency] = {}

    async def records(self) -> Sequence[model.ModelRecord]:
        return [self._records[name] for name in sorted(self._records)]

    async def record(self, model_name: str) -> model.ModelRecord | None:
        return self._records.get(model_name)

    async def rollout(self, rollout_id: str) -> model.Rollout:
        return self._must_exist(rollout_id)

    async def open_rollout(self, model_name: str) -> model.Rollout | None:
        return self._open(model_name)

    async def current(self, model_name: str) -> tuple[model.ModelRecord | None, model.Rollout | None]:
        return await self.record(model_name), await self.open_rollout(model_name)

    async def rollouts(
        self, model_name: str | None = None, *, open_only: bool = False, limit: int = 100, before: str | None = None
    ) -> Sequence[model.Rollout]:
        newest_first = list(reversed(self._rollouts.values()))
        if before is not None:
            newest_first = newest_first[newest_first.index(self._must_exist(before)) + 1 :]
        return [
            rollout
            for rollout in newest_first
            if (model_name is None or rollout.spec.model == model_name) and (rollout.open or not open_only)
        ][:limit]

    async def recall(self, key: str) -> ports.Idempotency | None:
        return self._keys.get(key)

    async def create(
        self, rollout: model.Rollout, facts: Sequence[events.Event], *, idempotency: ports.Idempotency | None = None
    ) -> None:
        name = rollout.spec.model
        taken = self._open(name)
        if taken is not None and rollout.open:
            raise ports.AlreadyOpen(taken.id)
        if rollout.id in self._rollouts or (idempotency and idempotency.key in self._keys):
            raise ports.Stale(f"the rollout id {rollout.id} or the idempotency key is taken")
        self._rollouts[rollout.id] = replace(rollout, revision=1)
        self._records.setdefault(name, model.ModelRecord(name, revision=1))
        self._append(facts, idempotency)

    async def save(
        self,
        rollout: model.Rollout | None,
        record: model.ModelRecord | None,
        facts: Sequence[events.Event],
        *,
        idempotency: ports.Idempotency | None = None,
        reading: model.Reading | None = None,
    ) -> None:
        if rollout is not None:
            stored = self._rollouts.get(rollout.id)
            if stored is None or stored.revision != rollout.revision:
                raise ports.Stale(f"rollout {rollout.id} is not at revision {rollout.revision} any more")
        if record is not None:
            known = self._records.get(record.model)
            if (known.revision if known else 0) != record.revision:
                raise ports.Stale(f"the record of {record.model} is not at revision {record.revision} any more")
        if idempotency and idempotency.key in self._keys:
            raise ports.Stale("the idempotency key is taken")
        if rollout is not None:
            self._rollouts[rollout.id] = replace(rollout, revision=rollout.revision + 1)
            if reading is not None:
                self._readings.setdefault(rollout.id, []).append(reading)
        if record is not None:
            self._records[record.model] = replace(record, revision=record.revision + 1)
        self._append(facts, idempotency)

    async def readings(self, rollout_id: str) -> Sequence[model.Reading]:
        return tuple(self._readings.get(rollout_id, ()))

    async def forget_readings(self, before: datetime) -> int:
        forgotten = 0
        for rollout_id, known in self._readings.items():
            if not self._rollouts[rollout_id].open:
                kept = [reading for reading in known if reading.at >= before]
                forgotten += len(known) - len(kept)
                self._readings[rollout_id] = kept
        return forgotten

    def _must_exist(self, rollout_id: str) -> model.Rollout:
        try:
            return self._rollouts[rollout_id]
        except KeyError:
            raise ports.NotFound("store", f"there is no rollout {rollout_id}") from None

    def _open(self, model_name: str) -> model.Rollout | None:
        return next((r for r in self._rollouts.values() if r.open and r.spec.model == model_name), None)

    def _append(self, facts: Sequence[events.Event], idempotency: ports.Idempotency | None) -> None:
        if idempotency is not None:
            self._keys[idempotency.key] = idempotency
        for fact in facts:
            kept = replace(fact, data=bodies.load_data(bodies.dump_data(fact.data)))  # as SQL gives it back
            self._events.append(events.Stored(len(self._events) + 1, kept))

    async def events(
        self, *, rollout_id: str | None = None, model_name: str | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[events.Stored]:
        return [
            stored
            for stored in self._events[after:]  # the sequence counts from 1
            if rollout_id in (None, stored.event.rollout_id) and model_name in (None, stored.event.model)
        ][:limit]
