"""The real loop and passes over the memory twins: who looks when, what interrupts a look, what survives which failure."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from controlplane.api import services
from controlplane.broadcast import Broadcast
from controlplane.history import History
from controlplane.loop import Loop
from controlplane.observe import Ports
from controlplane.passes import Passes
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_past import MemoryPast
from controlplane.traffic import TrafficMeter
from gateway.memory import MemoryGateway
from judge.policy import Policy, PredictionShiftGuard
from judge.presets import CAUTIOUS, STANDARD
from judge.samples import Sample
from monitoring.answers import MemoryAnswers
from registry.memory import MemoryRegistry
from rollout import commands, events, model, ports, replay
from runtime.memory import MemoryRuntime

NAME = "flight-delay"
STEPS = (model.Step(20, requests=10), model.Step(100))
IN_TIME_S = 1.0  # for what must not wait for anything; the registry hangs for HANGS_S
HANGS_S = 60.0
TICK_S = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class DefectiveGateway(MemoryGateway):
    """Has a defect of ours in it, which shows with one model."""

    defect_of = ""
    asked = 0

    async def state(self, model_name: str) -> model.GatewayState:
        if model_name == self.defect_of:
            self.asked += 1
            raise KeyError(model_name)
        return await super().state(model_name)


class RacedStore(MemoryStore):
    """Somebody else saves between a pass's look and its save."""

    meanwhile: Callable[[model.Rollout], model.Rollout] | None = None

    async def current(self, model_name: str) -> tuple[model.ModelRecord | None, model.Rollout | None]:
        record, rollout = await super().current(model_name)
        if rollout is not None and self.meanwhile is not None:
            change, self.meanwhile = self.meanwhile, None
            await self.save(change(rollout), None, ())
        return record, rollout


class World:
    """Version 1 of every model serves. What the gateway and the runtime tell reaches the loop as in the control plane."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = RacedStore()
        self.registry = MemoryRegistry(self.clock, timeout_s=HANGS_S)
        self.gateway = DefectiveGateway(self.nudge)
        self.runtime = MemoryRuntime(on_change=self.nudge)
        self.past = MemoryPast()
        self.answers = MemoryAnswers()
        self.drift = ""
        self.made_again()

    def made_again(self) -> Loop:
        """The loop of a new process, in a world that has gone on."""
        outside = Ports(self.store, self.registry, self.gateway, self.runtime, self.answers)
        self.passes = Passes(
            outside,
            clock=self.clock,
            changes=Broadcast(),
            meter=TrafficMeter(),
            history=History(self.past),
            tick_s=TICK_S,
            observe_timeout_s=HANGS_S,
            drain_s=0.0,
            drift=lambda name, version: self.drift if (name, version) == (NAME, 2) else "",
        )
        self.loop = Loop(outside, self.passes)
        return self.loop

    def nudge(self, model_name: str) -> None:
        self.loop.nudge(model_name)

    async def serving(self, name: str = NAME, versions: int = 2) -> None:
        for _ in range(versions):
            self.registry.add(name)
        await self.registry.set_alias(name, "champion", 1)
        await self.runtime.ensure(name, 1, 1)
        split = model.Split.of({1: 100})
        await self.store.save(None, model.ModelRecord(name, champion=1, split=split, epoch=1), ())

    async def start(
        self, name: str = NAME, strategy: model.Strategy = model.Strategy.CANARY, policy: Policy = STANDARD
    ) -> None:
        wish = model.Spec(name, 2, 1, strategy=strategy, steps=STEPS, probation_s=0.0, policy=policy)
        await self.store.create(commands.new_rollout(wish, f"r-{name}", self.clock()), ())
        self.loop.wake(name)

    async def ask(self, command: Callable[[model.Rollout, model.Intent], model.Rollout], name: str = NAME) -> None:
        """As the API does: write it down, wake the loop."""
        while True:
            try:
                asked = command(await self.rollout(name), model.Intent("ann", self.clock()))
                await self.store.save(asked, None, ())
                break
            except ports.Stale:
                await asyncio.sleep(0)
        self.loop.wake(name)

    async def rollout(self, name: str = NAME) -> model.Rollout:
        return await self.store.rollout(f"r-{name}")

    async def record(self, name: str = NAME) -> model.ModelRecord:
        found = await self.store.record(name)
        assert found is not None
        return found

    async def published(self, name: str = NAME) -> model.Routing:
        found = (await self.gateway.state(name)).published
        assert found is not None
        return found

    async def phase(self, phase: model.Phase, within_s: float = 10.0) -> model.Rollout:
        async def reached() -> bool:
            return (await self.rollout()).status.phase is phase

        await until(reached, within_s)
        return await self.rollout()

    async def split(self, weights: dict[int, int], within_s: float = 10.0) -> None:
        """Returns once the gateway was given this."""

        async def given() -> bool:
            published = (await self.gateway.state(NAME)).published
            return published is not None and published.split == model.Split.of(weights)

        await until(given, within_s)

    async def passes_by(self, passes: int = 3) -> None:
        """So many passes of the model, one by one, without the loop."""
        for _ in range(passes):
            await self.passes.run(NAME, asyncio.Event())


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not await holds():
            await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.loop.shutdown(5.0)
    await made.registry.close()


async def test_traffic_drives_a_rollout_to_its_end_and_every_split_is_an_epoch(world: World) -> None:
    await world.serving()
    await world.loop.startup()
    await world.start()
    await world.split({1: 80, 2: 20})
    assert (await world.published()).epoch == 2

    async def decided() -> bool:
        world.gateway.count(NAME, 1, 400, latency_us=5000.0)
        world.gateway.count(NAME, 2, 100, latency_us=5000.0)
        return (await world.rollout()).status.phase is not model.Phase.PROGRESSING

    await until(decided)
    ended = await world.phase(model.Phase.PROMOTED)
    record, routing = await world.record(), await world.published()
    assert (record.champion, record.previous, record.epoch) == (2, 1, 3)
    assert (routing.epoch, routing.split) == (3, model.Split.of({2: 100}))
    assert {sample.epoch for sample in await world.gateway.samples(NAME)} >= {2}, "counted under the split they arrived under"
    assert ended.status.verdict is not None

    async def cleared() -> bool:
        running = [one.version for one in await world.runtime.deployments(NAME)]
        return running == [2] and not (await world.record()).outbox

    await until(cleared)
    assert await world.registry.alias(NAME, "champion") == 2
    assert await world.registry.alias(NAME, "challenger") is None
    tags = (await world.registry.version(NAME, 2)).tags
    assert (tags["slipway.rollout"], tags["slipway.outcome"]) == (ended.id, "promoted")


@pytest.mark.parametrize("where", ["a note to the registry", "the alias"])
async def test_an_abort_reaches_the_gateway_although_the_pass_waits_for_the_registry(world: World, where: str) -> None:
    await world.serving()
    await world.loop.startup()
    world.registry.down = True  # so that there is a note left to be told
    await world.start()
    await world.split({1: 80, 2: 20})
    world.registry.down, world.registry.slow_s = False, HANGS_S
    if where == "a note to the registry":
        world.clock.advance(6)
    else:
        await world.ask(commands.promote)
        await world.split({2: 100})
    await asyncio.sleep(5 * TICK_S)
    waits = await world.rollout()
    await asyncio.sleep(5 * TICK_S)
    assert await world.rollout() == waits, "the pass waits"

    await world.ask(commands.abort)
    await world.split({1: 100}, within_s=IN_TIME_S)
    await world.phase(model.Phase.ROLLED_BACK, within_s=IN_TIME_S)


async def test_a_defect_in_one_models_pass_backs_off_and_stops_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("defective", NAME):
        await world.serving(name)
    world.gateway.defect_of = "defective"
    await world.loop.startup()
    await world.start(strategy=model.Strategy.BLUE_GREEN)
    await world.phase(model.Phase.PROMOTED)
    assert world.loop.failures == {"defective": "KeyError: 'defective'"}
    assert world.gateway.asked == 1, "the next try waits a second"
    assert "the pass failed; trying again in 1 s" in caplog.text
    world.gateway.defect_of = ""

    async def recovered() -> bool:
        return not world.loop.failures

    await until(recovered)
    assert (await world.published("defective")).split == model.Split.of({1: 100})


async def test_notes_wait_for_the_registry_and_hold_nothing_up(world: World) -> None:
    await world.serving()
    world.registry.down = True
    await world.start()
    await world.passes_by(6)
    assert (await world.rollout()).status.phase is model.Phase.PROGRESSING
    assert (await world.record()).outbox == (model.RegistryNote(2, alias="challenger"),)
    assert (await world.published()).split == model.Split.of({1: 80, 2: 20})

    world.registry.down = False
    await world.passes_by()
    assert (await world.record()).outbox, "not asked again at once"
    world.clock.advance(6)
    await world.passes_by()
    assert (await world.record()).outbox == ()
    assert await world.registry.alias(NAME, "challenger") == 2


async def test_a_note_that_the_registry_will_never_take_is_dropped_and_the_next_is_told(world: World) -> None:
    await world.serving()
    deleted = model.RegistryNote(7, tags=(("slipway.outcome", "failed"),))
    good = model.RegistryNote(1, tags=(("slipway.outcome", "promoted"),))
    await world.store.save(None, replace(await world.record(), outbox=(deleted, good)), ())
    await world.passes_by()
    assert (await world.record()).outbox == ()
    assert (await world.registry.version(NAME, 1)).tags == {"slipway.outcome": "promoted"}


async def test_every_model_is_published_before_a_gateway_connects(world: World) -> None:
    names = ["one", "three", "two"]
    for name in names:
        await world.serving(name)
    world.gateway.disconnect()
    assert await world.loop.restore() == len(names)
    for name in names:
        state = await world.gateway.state(name)
        assert state.ack is model.Ack.AWAY
        assert state.published is not None
        assert dict(state.published.endpoints)[1], "with the addresses of the replicas that were found again"
    world.gateway.connect()
    acked = [(await world.gateway.state(name)).acked for name in names]
    assert [routing.epoch if routing else None for routing in acked] == [1, 1, 1]


async def test_a_pass_that_comes_too_late_is_dropped_whole(world: World) -> None:
    """Between the look and the save somebody aborts: what the pass had decided is neither stored nor done."""
    await world.serving()
    await world.start()
    await world.passes_by(1)
    assert (await world.rollout()).status.phase is model.Phase.STARTING
    await world.passes_by(1)
    before = await world.record()
    world.store.meanwhile = lambda rollout: commands.abort(rollout, model.Intent("ann", world.clock()))
    wait_s = await world.passes.run(NAME, asyncio.Event())
    assert wait_s == 0.0, "it looks again at once"
    assert (await world.record()).split == before.split
    assert (await world.rollout()).requests.abort is not None
    await world.passes_by()
    ended = await world.rollout()
    assert (ended.status.reason, ended.open) == ("Aborted by ann.", False)
    assert (await world.published()).split == model.Split.of({1: 100})


@pytest.mark.parametrize("turns", range(8))
async def test_a_pass_may_be_given_up_at_any_moment(world: World, turns: int) -> None:
    await world.serving()
    await world.start()
    looking = asyncio.create_task(world.passes.run(NAME, asyncio.Event()))
    for _ in range(turns):
        await asyncio.sleep(0)
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
    gc.collect()  # what was never awaited is an error of this test, not of a later one
    await world.passes_by(3)
    assert (await world.rollout()).status.phase is model.Phase.PROGRESSING


async def test_shutdown_leaves_everything_as_it_is_for_the_next_process(world: World) -> None:
    await world.serving()
    await world.loop.startup()
    await world.start()
    await world.phase(model.Phase.PROGRESSING)
    await world.loop.shutdown(5.0)
    routing, rollout = await world.published(), await world.rollout()
    world.gateway.count(NAME, 2, 1000, latency_us=5000.0)
    await asyncio.sleep(5 * TICK_S)
    assert (await world.published(), await world.rollout()) == (routing, rollout), "nobody looks any more"
    assert routing.split == model.Split.of({1: 80, 2: 20})
    assert {one.version for one in await world.runtime.deployments(NAME)} == {1, 2}


async def test_what_the_champion_went_through_before_a_restart_decides_how_the_challenger_is_judged(world: World) -> None:
    await world.serving()
    await world.passes_by(1)
    for look in range(120):  # ten minutes of bursts, under the old process
        bad = 60 if look % 10 == 0 else 0
        for replica in ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"):
            hit = bad if replica == f"127.0.0.1:{1 + look // 10 % 4}" else 0
            world.gateway.count(NAME, 1, 100, hit, replica=replica, latency_us=5000.0)
        world.clock.advance(10)
        await world.passes_by(1)
    await world.loop.shutdown(5.0)
    world.made_again()
    await world.start()
    await world.passes_by(3)
    stored = await world.store.events(rollout_id=(await world.rollout()).id)
    (finding,) = [each.event.sentence for each in stored if each.event.kind is events.Kind.SELF_CHECK]
    assert finding.startswith("The champion's errors come in bursts: judged against itself (4 replicas)")


async def test_a_clock_set_back_between_two_processes_loses_nothing_and_holds_nothing_up(world: World) -> None:
    await world.serving()
    await world.start()
    await world.passes_by(4)
    assert (await world.rollout()).status.step_since is not None
    told = len(await world.store.events())

    world.clock.advance(-86400)
    next_process = world.made_again()
    assert await next_process.restore() == 1
    await next_process.startup()
    for _ in range(2):  # the first answers tell how fast the champion is, the next whether the challenger is as fast
        for version in (1, 2):
            world.gateway.count(NAME, version, 4000, latency_us=5000.0)
        await asyncio.sleep(5 * TICK_S)
    ended = await world.phase(model.Phase.PROMOTED)
    await next_process.shutdown(5.0)
    assert ended.status.ended_at is not None
    assert ended.status.ended_at < ended.created_at, "times are told as the clock said"
    history = [stored.event for stored in await world.store.events()]
    assert len(history) > told
    assert history[-1].kind is events.Kind.ENDED, "the history keeps its order"


class Answering:
    """A rollout whose policy asks for answers, pass by pass: so many requests to either side, each with its own part of "late"."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = np.random.default_rng(3)

    async def start(self, policy: Policy | None = None) -> None:
        world = self._world
        await world.serving()
        await world.start(policy=policy or Policy(latency=None, prediction_shift=PredictionShiftGuard()))
        await world.passes_by(4)
        for address in (await self.replicas()).values():
            world.answers.start(address)

    async def replicas(self) -> dict[int, str]:
        return {one.version: one.endpoints[0] for one in await self._world.runtime.deployments(NAME)}

    async def passes_by(self, parts: tuple[float, float], passes: int = 40, bad: int = 0) -> model.Rollout:
        world = self._world
        for _ in range(passes):
            if (await world.rollout()).status.phase is not model.Phase.PROGRESSING:
                break
            epoch = (await world.published()).epoch
            for (version, address), part, many in zip((await self.replicas()).items(), parts, (400, 100), strict=True):
                late = int(self._chance.binomial(many, part))
                world.gateway.count(NAME, version, many, bad if version == 2 else 0)
                world.answers.answer(address, epoch, "late", late)
                world.answers.answer(address, epoch, "on time", many - late)
            world.clock.advance(1)
            await world.passes_by(1)
        return await world.rollout()


async def test_a_challenger_that_answers_otherwise_is_held_with_a_reason_and_a_person_may_go_on(world: World) -> None:
    story = Answering(world)
    await story.start()
    held = await story.passes_by((0.2, 0.4))
    assert (held.status.phase, [hold.reason for hold in held.status.holds]) == (
        model.Phase.PROGRESSING,
        [model.HoldReason.GUARD_HOLDS],
    )
    assert "of its answers are class" in held.status.holds[0].detail
    assert (await world.published()).split == model.Split.of({1: 80, 2: 20})
    assert replay.replay(held, await world.store.readings(held.id)).same
    await world.ask(commands.promote)
    await world.passes_by(4)
    assert (await world.rollout()).status.phase is model.Phase.PROMOTED


async def test_traffic_that_drifts_moves_both_sides_and_holds_nobody(world: World) -> None:
    story = Answering(world)
    await story.start()
    for step in range(30):
        part = 0.1 + 0.02 * step  # from 10 % late to 70 %
        await story.passes_by((part, part), passes=1)
    ended = await story.passes_by((0.7, 0.7))
    await world.passes_by(4)
    assert (await world.rollout()).status.phase is model.Phase.PROMOTED
    assert not [stored for stored in await world.store.events() if stored.event.kind is events.Kind.HOLD]
    assert ended.status.verdict is not None


async def test_answers_that_cannot_be_read_keep_their_guard_waiting_and_no_other(world: World) -> None:
    story = Answering(world)
    await story.start()
    world.answers.away((await story.replicas())[2], "it hangs")
    waiting = await story.passes_by((0.2, 0.2))
    assert (waiting.status.phase, waiting.status.holds) == (model.Phase.PROGRESSING, ())
    assert waiting.status.verdict is not None
    finding = next(one for one in waiting.status.verdict.findings if one.guard == "prediction_shift")
    assert (finding.label, "replicas: it hangs" in finding.sentence) == ("insufficient", True)
    left = await story.passes_by((0.2, 0.2), bad=20)
    assert left.status.phase is model.Phase.ROLLING_BACK
    assert "fails" in left.status.reason


async def test_answers_come_back_and_nothing_was_lost(world: World) -> None:
    story = Answering(world)
    await story.start()
    address = (await story.replicas())[2]
    world.answers.away(address, "it hangs")
    await story.passes_by((0.2, 0.2), passes=20)
    world.answers.away(address)
    found = await story.passes_by((0.2, 0.2), passes=1)
    assert found.status.judge is not None
    assert sum(many for _, many in found.status.judge.challenger.answers) == 2100


async def test_nobody_asks_the_replicas_unless_the_policy_does(world: World) -> None:
    story = Answering(world)
    await story.start(Policy(latency=None))
    await story.passes_by((0.2, 0.2))
    assert world.answers.asked == 0


async def test_drifting_traffic_holds_a_cautious_rollout_while_it_lasts(world: World) -> None:
    story = Answering(world)
    world.drift = "Version 2: Harmful drift: wind_speed moved."
    await story.start(replace(CAUTIOUS, latency=None))
    held = await story.passes_by((0.2, 0.2), passes=5)
    assert [(hold.reason, hold.detail.startswith(world.drift)) for hold in held.status.holds] == [("traffic_drifts", True)]
    world.drift = ""
    await story.passes_by((0.2, 0.2), passes=200)
    await world.passes_by(4)
    assert (await world.rollout()).status.phase is model.Phase.PROMOTED


def test_the_observed_split_is_what_was_counted_in_the_last_seconds() -> None:
    clock, meter = Clock(), TrafficMeter(window_s=30.0)

    def counted(*samples: Sample, after_s: float) -> services.ObservedSplit:
        clock.advance(after_s)
        meter.feed(NAME, clock(), samples)
        return meter.traffic(NAME)

    assert counted(Sample("g@1", 2, 1, 500, 5), after_s=0).reason == "not counted yet"
    seen = counted(Sample("g@1", 2, 1, 590, 8), Sample("g@1", 2, 2, 10, 1), after_s=20)
    assert (seen.window_s, seen.requests_per_s, seen.reason) == (20.0, 5.0, None)
    assert seen.versions == (services.ObservedVersion(1, 90, 3, 90.0), services.ObservedVersion(2, 10, 1, 10.0))
    seen = counted(Sample("g@1", 2, 1, 660, 8), Sample("g@1", 2, 2, 10, 1), after_s=35)
    assert (seen.window_s, seen.requests_per_s) == (35.0, 2.0), "older readings are forgotten"
    assert seen.versions == (services.ObservedVersion(1, 70, 0, 100.0),)
    seen = counted(Sample("g@1", 2, 1, 690, 8), Sample("g@1", 3, 1, 5, 0), Sample("g@1", 3, 2, 5, 0), after_s=35)
    assert seen.requests_per_s == pytest.approx(40 / 35), "all traffic"
    assert [version.share_pct for version in seen.versions] == [50.0, 50.0], "shares of the newest split alone"
    seen = counted(Sample("g@2", 3, 1, 30, 1), after_s=35)
    assert seen.versions == (services.ObservedVersion(1, 30, 1, 100.0),), "a new process counts from zero"
    meter.feed(NAME, clock(), model.Unknown("the admin port does not answer"))
    assert meter.traffic(NAME) == services.ObservedSplit(reason="the admin port does not answer")
    assert meter.traffic("another").reason == "not counted yet"
