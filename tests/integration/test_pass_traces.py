"""Which passes become traces: the real passes over the memory twins, with OpenTelemetry's own exporter in memory."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics import parser

from controlplane.broadcast import Broadcast
from controlplane.history import History
from controlplane.metrics.recorder import Recorder
from controlplane.observe import Ports
from controlplane.passes import Passes
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_past import MemoryPast
from controlplane.traffic import TrafficMeter
from gateway.memory import MemoryGateway
from monitoring import jsonlines, logs, names
from registry.memory import MemoryRegistry
from rollout import commands, model, ports
from runtime.memory import MemoryRuntime

NAME = "flight-delay"
START = datetime(2026, 1, 1, tzinfo=UTC)


class DefectiveGateway(MemoryGateway):
    """Has a defect of ours in it while told to."""

    broken = False

    async def state(self, model_name: str) -> model.GatewayState:
        if self.broken:
            raise KeyError(model_name)
        return await super().state(model_name)


class StubbornRuntime(MemoryRuntime):
    """Refuses whatever is wanted of it while told to."""

    refuses = False

    async def ensure(self, model_name: str, version: int, replicas: int) -> None:
        if self.refuses:
            raise ports.Refused("runtime", "no")
        await super().ensure(model_name, version, replicas)


class World:
    """Version 1 serves, version 2 may be tried."""

    def __init__(self) -> None:
        self.now = START
        self.done = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.done))
        self.store, self.registry = MemoryStore(), MemoryRegistry(lambda: self.now)
        self.gateway, self.runtime = DefectiveGateway(lambda _: None), StubbornRuntime(on_change=lambda _: None)
        self.recorder = Recorder(clock=lambda: self.now)
        self.passes = Passes(
            Ports(self.store, self.registry, self.gateway, self.runtime),
            clock=lambda: self.now,
            changes=Broadcast(),
            meter=TrafficMeter(),
            history=History(MemoryPast()),
            tick_s=1.0,
            observe_timeout_s=5.0,
            drain_s=0.0,
            recorder=self.recorder,
            tracer=provider.get_tracer("test"),
        )

    async def serving(self) -> None:
        for _ in range(2):
            self.registry.add(NAME)
        await self.registry.set_alias(NAME, "champion", 1)
        await self.runtime.ensure(NAME, 1, 1)
        record = model.ModelRecord(NAME, champion=1, split=model.Split.of({1: 100}), epoch=1)
        await self.store.save(None, record, ())
        await self.quiet()

    async def quiet(self) -> None:
        """Until nothing is to be done; forgets how it came about."""
        for _ in range(10):
            await self.look()
        self.done.clear()

    async def start(self) -> None:
        wish = model.Spec(NAME, 2, 1, steps=(model.Step(50, requests=10), model.Step(100)), probation_s=0.0)
        await self.store.create(commands.new_rollout(wish, "r-1", self.now), ())

    async def look(self) -> None:
        self.now += timedelta(seconds=1)
        await self.passes.run(NAME, asyncio.Event())

    def traces(self) -> list[dict[str, ReadableSpan]]:
        """Spans by name, of each trace in its order."""
        found: dict[int, dict[str, ReadableSpan]] = {}
        for span in self.done.get_finished_spans():
            found.setdefault(span.context.trace_id, {})[span.name] = span
        return sorted(found.values(), key=lambda trace: trace["pass"].start_time or 0)


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


@pytest.fixture
async def world() -> World:
    made = World()
    await made.serving()
    return made


async def test_a_pass_that_finds_nothing_to_do_is_none(world: World) -> None:
    for _ in range(5):
        await world.look()
    assert world.traces() == []


async def test_a_pass_that_decides_is_one_with_its_words_and_actions(world: World) -> None:
    await world.start()
    await world.look()
    (trace,) = world.traces()
    root = trace["pass"]
    assert root.parent is None
    assert attributes(root) == {"model": NAME, "rollout": "r-1", "phase": "starting"}
    assert [event.name for event in root.events] == ["phase"]
    parents = {
        name: next(outer for outer, other in trace.items() if other.context.span_id == span.parent.span_id)
        for name, span in trace.items()
        if span.parent is not None
    }
    assert parents == {
        **dict.fromkeys(("observe", "judge", "advance", "save", "apply"), "pass"),
        "ensure": "apply",
        "tell": "apply",
    }
    order = [trace[word] for word in ("observe", "judge", "advance", "save", "apply")]
    assert [span.start_time for span in order] == sorted(span.start_time or 0 for span in order)
    assert (root.start_time or 0) <= (order[0].start_time or 0)
    assert (order[-1].end_time or 0) <= (root.end_time or 0)


async def test_what_fails_again_and_again_is_one_trace(world: World) -> None:
    world.runtime.refuses = True
    await world.start()
    for _ in range(5):
        await world.look()
    told = [trace["pass"] for trace in world.traces() if "ensure" in trace]
    assert {root.status.description for root in told} == {"runtime refused: no"}
    assert all(root.events for root in told), "each wrote something down, too"
    assert len(told) < 5
    world.runtime.refuses = False
    await world.look()
    await world.quiet()


async def test_a_pass_that_breaks_is_one_too(world: World) -> None:
    await world.start()
    world.gateway.broken = True
    with pytest.raises(KeyError):
        await world.look()
    (trace,) = world.traces()
    assert trace["pass"].status.description == f"KeyError: '{NAME}'"


async def test_exemplars_lead_to_the_trace_of_the_pass(world: World) -> None:
    await world.start()
    for _ in range(5):
        await world.look()
    rollout = await world.store.rollout("r-1")
    await world.store.save(commands.abort(rollout, model.Intent("ann", world.now)), None, ())
    for _ in range(5):
        await world.look()
    kept = {f"{trace['pass'].context.trace_id:032x}" for trace in world.traces()}
    text = world.recorder.exposition(openmetrics=True)().decode()
    found: dict[str, set[str]] = {}
    for family in parser.text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            if sample.exemplar and "trace_id" in sample.exemplar.labels:
                found.setdefault(family.name, set()).add(sample.exemplar.labels["trace_id"])
    assert names.PASS_DURATION.name in found
    assert names.ROLLOUT_DURATION.name in found
    assert all(ids <= kept for ids in found.values()), "each can be looked up"


async def test_the_log_lines_of_a_pass_name_its_trace(world: World, caplog: pytest.LogCaptureFixture) -> None:
    lines: list[dict[str, Any]] = []
    formatter = jsonlines.JsonLines("test", logs.ids)

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(formatter.format(record)))

    caplog.set_level("INFO")
    log, handler = logging.getLogger("controlplane.passes"), Kept()
    log.addHandler(handler)
    try:
        await world.start()
        await world.look()
    finally:
        log.removeHandler(handler)
    (trace,) = world.traces()
    (line,) = [line for line in lines if line.get("kind") == "phase"]
    assert line["trace_id"] == f"{trace['pass'].context.trace_id:032x}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
