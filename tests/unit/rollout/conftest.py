"""State in, state out: builders of rollouts and of worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from judge.verdict import Effect, Finding, Label, Verdict
from rollout import commands, machine, plan
from rollout.draft import Next
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
    Rollout,
    Routing,
    Spec,
    Split,
    Step,
    Unknown,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Story:
    """Version 1 serves, version 2 is shipped; the gateway acknowledges whatever is published unless told otherwise."""

    spec: Spec = field(default_factory=lambda: Spec("m", 2, 1, steps=(Step(5, requests=10), Step(50, requests=10), Step(100))))
    now: datetime = NOW
    ready: tuple[int, ...] = (1, 2)
    failed: tuple[int, ...] = ()
    ack: Ack = Ack.YES
    alias: int | Unknown | None = 1
    deployments_unknown: bool = False
    drift: str = ""

    def __post_init__(self) -> None:
        self.rollout: Rollout = commands.new_rollout(self.spec, "r1", self.now)
        split = Split.of({self.spec.champion: 100}) if self.spec.champion else None
        self.record = ModelRecord("m", champion=self.spec.champion, split=split, epoch=1)
        self.published: Routing | None = None
        self.acked: Routing | None = None
        self.stopped: list[int] = []
        self.last: Next | None = None

    def observed(self) -> Observed:
        states = dict.fromkeys(self.ready, DeploymentState.READY) | dict.fromkeys(self.failed, DeploymentState.FAILED)
        found = tuple(
            Deployment("m", v, s, 1, (f"h:{v}",) if s is DeploymentState.READY else (), "it broke")
            for v, s in sorted(states.items())
        )
        node = GatewayNode("g", self.ack, "bad cluster" if self.ack is Ack.REFUSED else "")
        gateway = GatewayState(self.ack, (node,), self.published, self.acked)
        deployments = Unknown("runtime away") if self.deployments_unknown else found
        return Observed(self.now, deployments=deployments, gateway=gateway, alias=self.alias, drift=self.drift)

    def look(self, times: int = 1) -> Story:
        for _ in range(times):
            self.last = machine.advance(self.rollout, self.record, self.observed())
            self.rollout, self.record = self.last.rollout, self.last.record
            for action in plan.plan(self.record, self.rollout, self.observed()):
                match action:
                    case plan.Publish(routing):
                        self.published = routing
                    case plan.Withdraw():
                        self.published = None
                    case plan.PointAlias(_, _, version):
                        self.alias = version
                    case plan.Stop(_, version):
                        self.stopped.append(version)
                        self.ready = tuple(v for v in self.ready if v != version)
                        self.failed = tuple(v for v in self.failed if v != version)
                    case plan.Tell():
                        self.record = replace(self.record, outbox=self.record.outbox[1:])
            if self.ack is Ack.YES:
                self.acked = self.published
        return self

    def says(self, label: Label, requests: int = 0) -> Story:
        finding = Finding("error_rate", label, f"it is {label}", Effect(None, None, None), 0, 2, 0, 1, 1.0, 0, 0, requests, 0)
        self.rollout = replace(self.rollout, status=replace(self.rollout.status, verdict=Verdict("test", label, (finding,))))
        return self

    def after(self, seconds: float) -> Story:
        self.now += timedelta(seconds=seconds)
        return self

    def ask(self, verb: str, reason: str = "") -> Story:
        self.rollout = getattr(commands, verb)(self.rollout, Intent("ann", self.now, reason))
        return self

    def on_step(self, index: int = 0) -> Story:
        self.look(4)
        if index:
            self.says(Label.INSUFFICIENT, 10).look(4)
        assert self.rollout.status.step == index
        assert self.rollout.status.step_since is not None
        return self

    @property
    def phase(self) -> Phase:
        return self.rollout.status.phase

    @property
    def weight_pct(self) -> int:
        return self.record.split.weight_pct(self.spec.version) if self.record.split else 0

    @property
    def holds(self) -> list[str]:
        return [hold.reason.value for hold in self.rollout.status.holds]


@pytest.fixture
def story() -> Callable[..., Story]:
    return Story
