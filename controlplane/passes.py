"""One pass over one model, seven words: observe, judge, advance, save, plan, apply, tell.

Level-triggered: it compares what is wanted with what is, so repeating a pass is harmless, and since the save precedes the
apply, a crash between any two words needs no repair. Called by the loop; the only place that puts the words in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from opentelemetry import trace

from judge import selfcheck
from rollout import commands, draft, judging, machine, model, ports
from rollout import plan as planning

from .apply import Applied, apply, unless
from .broadcast import Broadcast
from .history import History
from .metrics.recorder import Recorder
from .observe import Observer, Ports
from .tracing import PassTrace
from .traffic import TrafficMeter

IDLE_S = 10.0  # between looks at a model without an open rollout, on average
IDLE_AT_ONCE = 4  # such looks at a time; a fleet that looks all at once would keep the API and the gateways from their work
AFTER_FAILURE_S = 1.0  # an action failed: plan again from what is then seen
REGISTRY_RETRY_S = 5.0  # the registry did not take a note of the outbox

log = logging.getLogger(__name__)


class Passes:
    def __init__(
        self,
        outside: Ports,
        *,
        clock: Callable[[], datetime],
        changes: Broadcast,
        meter: TrafficMeter,
        history: History,
        tick_s: float,
        observe_timeout_s: float,
        drain_s: float,
        keep_readings: timedelta = timedelta(days=30),
        drift: Callable[[str, int], str] = lambda *_: "",
        recorder: Recorder | None = None,
        tracer: trace.Tracer | None = None,
    ) -> None:
        """`drift`: as in `Observer`. `recorder` hears of every look; left out, nobody asks it. `tracer` hears of passes that changed something."""
        self._outside = outside
        self._observer = Observer(outside, clock=clock, timeout_s=observe_timeout_s, drift=drift)
        self._clock = clock
        self._changes = changes
        self._meter = meter
        self._tick_s = tick_s
        self._drain_s = drain_s
        self._keep_readings = keep_readings
        self._history = history
        self._recorder = recorder or Recorder(clock=clock)
        self._tracer = tracer or trace.NoOpTracer()
        self._outbox_retry_at: dict[str, datetime] = {}
        self._stuck: dict[str, tuple[planning.Action, ...]] = {}  # what the last pass could not do
        self._idle_turns = asyncio.Semaphore(IDLE_AT_ONCE)

    def now(self) -> datetime:
        return self._clock()

    async def run(self, model_name: str, interrupt: asyncio.Event) -> float:
        """Look at the model once; the seconds until it wants to be looked at again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        traced = PassTrace(self._tracer, model_name)
        failed = True
        try:
            wait_s = await self._pass(model_name, interrupt, traced)
            failed = False
        except Exception as error:
            traced.failed(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._recorder.passed(model_name, loop.time() - began, failed=failed, trace_id=traced.id)
            traced.end()
        return wait_s

    async def _pass(self, model_name: str, interrupt: asyncio.Event, traced: PassTrace) -> float:
        record, rollout = await self._outside.store.current(model_name)
        if record is None:
            return IDLE_S
        with traced.word("observe"):
            observed = await self._look(record, rollout, interrupt)
        if observed is None:
            return 0.0
        if not isinstance(observed.deployments, model.Unknown):  # an urgent look asks for no counts
            self._meter.feed(model_name, observed.now, observed.samples)
            observed = replace(observed, requests_per_s=self._meter.traffic(model_name).requests_per_s)
            if not isinstance(observed.samples, model.Unknown):
                with contextlib.suppress(ports.Unavailable):  # it is put away later
                    await self._history.feed(model_name, observed.now, record.champion, observed.samples)
            if rollout is not None and judging.wants_selfcheck(rollout):
                observed = replace(observed, selfcheck=await self._selfcheck(rollout))
        wake_s = _idle_s(model_name)
        if rollout is not None:
            with traced.word("judge"):
                judged = judging.judge(rollout, observed)
            with traced.word("advance"):
                decided = machine.advance(judged.rollout, record, observed)
            try:
                rollout, record = await self._save(rollout, record, decided, judged, traced)
            except ports.Stale:
                return 0.0
            wake_s = 0.0 if decided.again else self._tick_s
            observed = replace(observed, gateway=await self._outside.gateway.state(model_name))
        self._recorder.looked(record, rollout, observed)
        actions = self._due(planning.plan(record, rollout, observed), observed.now)
        applied = await self._apply(model_name, actions, interrupt, traced)
        return min(wake_s, await self._settle(record, applied, actions))

    async def _apply(
        self, model_name: str, actions: tuple[planning.Action, ...], interrupt: asyncio.Event, traced: PassTrace
    ) -> Applied:
        """What failed before and is tried once more is no trace of its own, or an outage would be one a second."""
        if actions and self._stuck.get(model_name) != actions:
            traced.keep()
        with traced.word("apply"):
            applied = await apply(actions, self._outside, drain_s=self._drain_s, interrupt=interrupt, traced=traced.word)
        if applied.failure is None:
            self._stuck.pop(model_name, None)
        else:
            self._stuck[model_name] = actions[applied.actions :]
            traced.problem(applied.failure)
        return applied

    async def _selfcheck(self, rollout: model.Rollout) -> selfcheck.SelfCheck:
        """In a thread: it may take a tenth of a second."""
        spec, seed = rollout.spec, zlib.crc32(rollout.id.encode())
        assert spec.champion is not None
        readings = await self._history.readings(spec.model, spec.champion, self._clock())
        return await asyncio.to_thread(selfcheck.check, rollout.spec.policy, readings, seed=seed)

    async def _look(
        self, record: model.ModelRecord, rollout: model.Rollout | None, interrupt: asyncio.Event
    ) -> model.Observed | None:
        """None: interrupted. On the urgent way out nothing is waited for, so there is nothing to interrupt."""
        if rollout is not None and commands.urgent(rollout):
            return await self._observer.observe(record, rollout)
        looking = asyncio.ensure_future(self._observe(record, rollout))
        return looking.result() if await unless(interrupt, looking) else None

    async def _observe(self, record: model.ModelRecord, rollout: model.Rollout | None) -> model.Observed:
        if rollout is not None:
            return await self._observer.observe(record, rollout)
        async with self._idle_turns:
            return await self._observer.observe(record, None)

    async def _save(
        self,
        rollout: model.Rollout,
        record: model.ModelRecord,
        decided: draft.Next,
        judged: judging.Judged,
        traced: PassTrace,
    ) -> tuple[model.Rollout, model.ModelRecord]:
        """Write down what was decided, if anything changed; then tell those who wait."""
        if decided.rollout == rollout and decided.record == record:
            return rollout, record
        record_changed = decided.record != record
        story = (*judged.facts, *decided.events)
        changed = decided.record if record_changed else None
        if story:
            traced.keep(rollout=rollout.id, phase=decided.rollout.status.phase.value)
        with traced.word("save"):
            await self._outside.store.save(decided.rollout, changed, story, reading=judged.reading)
        if not decided.rollout.open:
            await self._outside.store.forget_readings(self._clock() - self._keep_readings)
        self._changes.publish(record.model)
        self._recorder.saved(rollout, decided.rollout, traced.id)
        with traced.current():
            for fact in story:
                traced.tell(fact.kind.value, fact.sentence)
                log.info(fact.sentence, extra={"model": fact.model, "rollout": fact.rollout_id, "kind": fact.kind.value})
        saved_record = replace(decided.record, revision=record.revision + 1) if record_changed else record
        return replace(decided.rollout, revision=rollout.revision + 1), saved_record

    def _due(self, actions: tuple[planning.Action, ...], now: datetime) -> tuple[planning.Action, ...]:
        """Notes for a registry that did not listen just now are left for later."""
        return tuple(
            action
            for action in actions
            if not isinstance(action, planning.Tell) or self._outbox_retry_at.get(action.model, now) <= now
        )

    async def _settle(self, record: model.ModelRecord, applied: Applied, actions: tuple[planning.Action, ...]) -> float:
        """Clear a delivered note from the outbox; when to come back because of what was applied."""
        if applied.failure is not None:
            log.warning(applied.failure, extra={"model": record.model})
            if isinstance(actions[applied.actions], planning.Tell):
                self._outbox_retry_at[record.model] = self._clock() + timedelta(seconds=REGISTRY_RETRY_S)
                return REGISTRY_RETRY_S
            return AFTER_FAILURE_S
        if applied.told:
            try:
                await self._outside.store.save(None, replace(record, outbox=record.outbox[1:]), ())
            except ports.Stale:
                return 0.0  # the note is told once more, which is harmless
        moved_alias = any(isinstance(action, planning.PointAlias) for action in actions)
        return 0.0 if applied.told or applied.interrupted or moved_alias else math.inf


def _idle_s(model_name: str) -> float:
    """Half to one and a half times IDLE_S, another for each model: those that began together do not stay together."""
    return IDLE_S * (0.5 + zlib.crc32(model_name.encode()) / 2**32)
