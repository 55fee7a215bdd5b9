"""Who did what when, inside the control plane under test: the real store and the real gateway, with a watch in hand.

Used by `plane`. Adds two readings of the clock per call and changes nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from controlplane import passes
from controlplane.store import sql
from gateway import adapter as gateways
from judge.samples import Sample
from rollout import events, model, ports


class Mark(NamedTuple):
    """One call. `by` is loop (a worker's pass) or api; the times are monotonic seconds."""

    what: str
    by: str
    model: str
    begin: float
    end: float


_BY = ContextVar("by", default="api")


class Marks:
    def __init__(self) -> None:
        self.all: list[Mark] = []

    @contextmanager
    def span(self, what: str, model_name: str = "") -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.all.append(Mark(what, _BY.get(), model_name, begin, time.monotonic()))

    def moment(self, what: str, model_name: str, at: float) -> None:
        self.all.append(Mark(what, "gateway", model_name, at, at))


class TimedPasses(passes.Passes):
    """Says who asks: what a worker calls, and the tasks it makes, is the loop's."""

    async def run(self, model_name: str, interrupt: asyncio.Event) -> float:
        _BY.set("loop")
        return await super().run(model_name, interrupt)


class TimedStore(sql.SqlStore):
    """Only what an abort needs is timed."""

    marks: Marks

    async def recall(self, key: str) -> ports.Idempotency | None:
        with self.marks.span("store.recall"):
            return await super().recall(key)

    async def record(self, model_name: str) -> model.ModelRecord | None:
        with self.marks.span("store.record", model_name):
            return await super().record(model_name)

    async def rollout(self, rollout_id: str) -> model.Rollout:
        with self.marks.span("store.rollout"):
            return await super().rollout(rollout_id)

    async def current(self, model_name: str) -> tuple[model.ModelRecord | None, model.Rollout | None]:
        with self.marks.span("store.current", model_name):
            return await super().current(model_name)

    async def save(
        self,
        rollout: model.Rollout | None,
        record: model.ModelRecord | None,
        facts: Sequence[events.Event],
        *,
        idempotency: ports.Idempotency | None = None,
        reading: model.Reading | None = None,
    ) -> None:
        with self.marks.span("store.save"):
            await super().save(rollout, record, facts, idempotency=idempotency, reading=reading)


class TimedGateway(gateways.EnvoyGateway):
    """Marks each publication, and the first moment at which every gateway has confirmed it."""

    def __init__(self, marks: Marks, **settings: Any) -> None:
        super().__init__(**settings)
        self._marks = marks
        self._waiting: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def publish(self, routing: model.Routing) -> None:
        with self._marks.span("gateway.publish", routing.model):
            await super().publish(routing)
        self._waiting[routing.model] = routing.epoch

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        with self._marks.span("gateway.samples", model_name):
            return await super().samples(model_name)

    def changed(self, model_name: str) -> None:
        """Call from `on_change`. The time is that of the call, though the state is looked at a moment later."""
        task = asyncio.create_task(self._look(model_name, time.monotonic()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, model_name: str, at: float) -> None:
        state = await self.state(model_name)
        epoch = self._waiting.get(model_name)
        if state.ack is model.Ack.YES and state.acked is not None and state.acked.epoch == epoch:
            del self._waiting[model_name]
            self._marks.moment("gateway.acked", model_name, at)
