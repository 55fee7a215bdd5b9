"""The rollout's state machine under any order of looks, requests, lost replies, outages and crashes.

The world is simulated (gateway, replicas, alias, store); the machine, the commands and the plan are the real ones. A crash
after the save, or in the middle of applying, simply ends the pass: nothing but the stored state survives it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from judge.policy import Action, Fallback, Policy
from judge.verdict import Effect, Finding, Label, Verdict
from rollout import commands, machine, plan
from rollout.model import (
    Ack,
    Deployment,
    DeploymentState,
    GatewayNode,
    GatewayState,
    Intent,
    ModelRecord,
    Observed,
    Phase,
    Ramp,
    Rollout,
    Routing,
    Spec,
    Split,
    Step,
    Strategy,
    Unknown,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = (Step(5, requests=10), Step(50, requests=10), Step(100))


RAMPS = st.builds(Ramp, st.floats(0.5, 500.0), st.integers(1, 99), st.sampled_from([0.0, 10.0]), st.floats(0.5, 10.0))


def verdict(label: Label, requests: int, *, holding: bool) -> Verdict:
    finding = Finding("error_rate", label, f"says {label}", Effect(None, None, None), 0, 2, 0, 1.3, 1.0, 0, 0, requests, 0)
    shift = replace(finding, guard="prediction_shift", label=Label.FAIL, action=Action.HOLD)
    return Verdict("test", label, (finding, shift) if holding else (finding,))


class World(RuleBasedStateMachine):
    """One model, version 1 serving (or nothing yet), version 2 being shipped."""

    @initialize(
        strategy=st.sampled_from(Strategy),
        first_ship=st.booleans(),
        on_blind=st.sampled_from([Fallback.HOLD, Fallback.ROLL_BACK]),
        on_insufficient=st.sampled_from(Fallback),
        probation_s=st.sampled_from([0.0, 30.0]),
        auto=st.one_of(st.none(), RAMPS),
    )
    def begin(
        self,
        strategy: Strategy,
        first_ship: bool,
        on_blind: Fallback,
        on_insufficient: Fallback,
        probation_s: float,
        auto: Ramp | None,
    ) -> None:
        champion = None if first_ship else 1
        policy = Policy(on_blind=on_blind, on_insufficient=on_insufficient, blind_deadline_s=60, insufficient_deadline_s=60)
        spec = Spec("m", 2, champion, strategy, STEPS, policy, start_deadline_s=120, probation_s=probation_s, auto=auto)
        self.now = START
        self.rollout: Rollout = commands.new_rollout(spec, "r1", START)
        split = None if first_ship else Split.of({1: 100})
        self.record = ModelRecord("m", champion=champion, split=split, epoch=0 if first_ship else 1)
        self.replicas: dict[int, DeploymentState] = {} if first_ship else {1: DeploymentState.READY}
        self.was_ready = set(self.replicas)
        self.published: Routing | None = None
        self.acked: Routing | None = None
        self.refusing = self.gateway_away = self.registry_away = self.runtime_unknown = self.blind = self.holding = False
        self.requests_per_s: float | None = None
        self.alias: int | None = champion
        self.judged = 0
        self.label = Label.INSUFFICIENT
        self.asked_to_leave = False
        self.told_promoted = False
        self.look()

    # -- the world --------------------------------------------------------------------------------------------------

    def gateway(self) -> GatewayState:
        if self.gateway_away:
            return GatewayState(Ack.AWAY, (), self.published, None)
        ack = Ack.YES if self.acked == self.published else Ack.REFUSED if self.refusing else Ack.NOT_YET
        return GatewayState(ack, (GatewayNode("g", ack, "no" if ack is Ack.REFUSED else ""),), self.published, self.acked)

    def observed(self) -> Observed:
        if commands.urgent(self.rollout):
            return Observed(self.now, gateway=self.gateway())
        deployments = tuple(
            Deployment("m", version, state, 1, (f"h:{version}",) if state is DeploymentState.READY else (), "broken")
            for version, state in sorted(self.replicas.items())
        )
        return Observed(
            self.now,
            deployments=Unknown("away") if self.runtime_unknown else deployments,
            gateway=self.gateway(),
            alias=Unknown("away") if self.registry_away else self.alias,
            requests_per_s=self.requests_per_s,
        )

    def do(self, action: plan.Action) -> bool:
        """Apply one action; False: the outside did not answer."""
        match action:
            case plan.Publish(routing):
                self.published = routing
            case plan.Withdraw():
                self.published = None
            case plan.Ensure(_, version, _):
                self.replicas.setdefault(version, DeploymentState.STARTING)
            case plan.Stop(_, version):
                assert self.record.champion != version, "stopped the champion"
                in_use = self.acked is not None and version in dict(self.acked.endpoints)
                assert not in_use or self.replicas[version] is DeploymentState.FAILED, "stopped a version that has routes"
                self.replicas[version] = DeploymentState.STOPPING
            case plan.PointAlias(_, _, version):
                if self.registry_away:
                    return False
                self.alias = version
            case plan.Tell():
                if self.registry_away:
                    return False
                self.record = replace(self.record, outbox=self.record.outbox[1:])
        return True

    # -- what may happen --------------------------------------------------------------------------------------------

    @rule(crash_after=st.one_of(st.none(), st.integers(0, 3)), lose_reply=st.booleans())
    def look(self, crash_after: int | None = None, lose_reply: bool = False) -> None:
        """A pass, which may die after so many actions (0: right after the save), or lose the reply to the first."""
        observed = self.observed()
        before = self.rollout
        if before.open and before.status.phase in (Phase.PROGRESSING, Phase.PROMOTING, Phase.PROBATION):
            label = Label.BLIND if self.blind else self.label
            before = replace(before, status=replace(before.status, verdict=verdict(label, self.judged, holding=self.holding)))
        decided = machine.advance(before, self.record, observed)
        again = machine.advance(before, self.record, observed)
        assert decided == again, "deciding twice from the same world differs"
        if decided.rollout.status.phase is not before.status.phase:
            self.moved_to(decided.rollout.status.phase)
        elif before.status.phase is Phase.PROGRESSING:
            self.share_moved(before.status.weight_pct, decided.rollout)
        self.rollout, self.record = decided.rollout, decided.record
        event(f"reached {self.rollout.status.phase}")
        observed = replace(observed, gateway=self.gateway())
        for done, action in enumerate(plan.plan(self.record, self.rollout, observed)):
            if done == crash_after:
                return
            if not self.do(action) or lose_reply:
                return

    def moved_to(self, phase: Phase) -> None:
        """What people are told is true at the moment they are told it."""
        weight = self.acked.split.weight_pct(2) if self.acked else 0
        if phase is Phase.ROLLED_BACK:
            assert weight == 0, "said to be rolled back while a gateway still sends it traffic"
            assert self.alias != 2, "said to be rolled back while the alias names it"
        if phase in (Phase.PROBATION, Phase.PROMOTED) and self.rollout.status.phase is Phase.PROMOTING:
            assert (weight, self.alias) == (100, 2), "said to be champion while traffic or alias are elsewhere"

        if phase is Phase.PROMOTING and self.holding and self.rollout.status.phase is Phase.PROGRESSING:
            assert self.rollout.requests.promote, "promoted by itself although a guard holds"

    def share_moved(self, before: int, after: Rollout) -> None:
        """Of a ramp: only up, only from a confirmed split, and never while something holds."""
        now = after.status.weight_pct
        assert now >= before, f"the share fell from {before} to {now} %"
        if now > before:
            assert self.acked is not None
            assert self.acked.split.weight_pct(2) == before, "the share rose before the last one was confirmed"
            assert not after.status.holds, "the share rose while something holds"
            event("share rose")

    @rule(rounds=st.integers(1, 6))
    def all_goes_well(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now += timedelta(seconds=1)
            for version in self.replicas:
                if self.replicas[version] is not DeploymentState.STOPPING:
                    self.replicas_change(version, DeploymentState.READY)
            self.gateway_acknowledges()
            self.judged += 5
            self.look()

    @rule(seconds=st.sampled_from([1, 5, 70, -50]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def gateway_acknowledges(self) -> None:
        if not self.gateway_away and not self.refusing:
            self.acked = self.published

    @rule(
        which=st.sampled_from(["refusing", "gateway_away", "registry_away", "runtime_unknown", "blind", "holding"]),
        on=st.booleans(),
    )
    def outage(self, which: str, on: bool) -> None:
        setattr(self, which, on)

    @rule(version=st.sampled_from([1, 2]), state=st.sampled_from(DeploymentState))
    def replicas_change(self, version: int, state: DeploymentState) -> None:
        """A replica may become ready or fail at any time; only what is stopping may disappear."""
        if self.replicas.get(version) is DeploymentState.STOPPING:
            del self.replicas[version]
        elif version in self.replicas and state is not DeploymentState.STOPPING:
            self.replicas[version] = state
            if state is DeploymentState.READY:
                self.was_ready.add(version)

    @rule(requests=st.sampled_from([5, 20]), label=st.sampled_from([Label.PASS, Label.FAIL, Label.INSUFFICIENT]))
    def traffic(self, requests: int, label: Label) -> None:
        self.judged += requests
        self.label = label

    @rule(requests_per_s=st.sampled_from([None, 0.0, 0.5, 200.0, 1e6]))
    def clients_come_and_go(self, requests_per_s: float | None) -> None:
        self.requests_per_s = requests_per_s

    @rule(verb=st.sampled_from(["pause", "resume", "promote", "abort", "undo"]))
    def somebody_asks(self, verb: str) -> None:
        intent = Intent("ann", self.now, "because")
        try:
            after = getattr(commands, verb)(self.rollout, intent)
        except commands.NotNow:
            return
        twice = getattr(commands, verb)(after, intent)
        assert twice is after, f"{verb} is not idempotent"
        if verb in ("abort", "undo") and after is not self.rollout:
            self.asked_to_leave = True
        self.rollout = after

    @rule(version=st.sampled_from([None, 1, 7]))
    def somebody_moves_the_alias(self, version: int | None) -> None:
        self.alias = version

    @precondition(lambda self: commands.urgent(self.rollout))
    @rule()
    def abort_wins(self) -> None:
        """With everything down, one look still takes the challenger off the desired split and publishes it."""
        self.refusing = self.gateway_away = self.registry_away = self.runtime_unknown = self.blind = True
        self.look()
        assert self.rollout.status.phase is Phase.ROLLING_BACK
        assert self.published is None or self.published.split.weight_pct(2) == 0

    # -- what must always hold --------------------------------------------------------------------------------------

    @invariant()
    def only_ready_versions_get_traffic(self) -> None:
        if hasattr(self, "published") and self.published:
            for version, weight in self.published.split.weights:
                assert not weight or version in self.was_ready, f"version {version} got traffic and was never ready"

    @invariant()
    def terminal_is_final(self) -> None:
        if hasattr(self, "rollout") and not self.rollout.open:
            if self.asked_to_leave:
                assert self.rollout.status.phase is not Phase.PROMOTED, "promoted after an abort"
            after = machine.advance(self.rollout, self.record, self.observed())
            assert after.rollout == self.rollout
            assert after.record == self.record
            assert not after.events

    def teardown(self) -> None:
        """Heal the world and ask for an end: it must come, and everything must agree."""
        if not hasattr(self, "rollout"):
            return
        self.refusing = self.gateway_away = self.registry_away = self.runtime_unknown = self.blind = self.holding = False
        self.requests_per_s = 1.0
        self.rollout = commands.resume(self.rollout, Intent("ann", self.now)) if self.rollout.open else self.rollout
        self.label, self.judged = Label.PASS, self.judged + 1000
        for _ in range(40):
            self.now += timedelta(seconds=20)
            on_probation = self.rollout.status.phase is Phase.PROBATION
            if self.rollout.open and (on_probation or self.alias not in (self.rollout.spec.champion, 2)):
                self.alias = self.record.champion  # somebody puts it back
            for version in (1, 2):
                self.replicas_change(version, DeploymentState.READY)
            self.judged += 20
            self.look()
            self.gateway_acknowledges()
        assert not self.rollout.open, f"never ended: {self.rollout.status}"
        champion = self.record.champion
        assert champion == (2 if self.rollout.status.phase is Phase.PROMOTED else self.rollout.spec.champion)
        assert self.acked == self.published
        assert set(self.replicas) == ({champion} if champion else set())
        assert (self.published.split.weights if self.published else ()) == (((champion, 100),) if champion else ())
        assert not self.record.outbox


World.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.timeout(180)
class TestWorld(World.TestCase):  # type: ignore[misc, valid-type]  # Hypothesis builds the class at run time
    pass
