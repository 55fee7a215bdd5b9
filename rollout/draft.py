"""One pass in the making: the rollout and its model's record as they change, the holds and events that arise.

Used by `machine` alone. A draft is finished once; what comes out is checked against the invariants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .events import Event, Kind
from .model import (
    TERMINAL,
    Ack,
    Deployment,
    Hold,
    HoldReason,
    ModelRecord,
    Observed,
    Phase,
    RegistryNote,
    Rollout,
    Split,
    Status,
    Unknown,
)

MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.STARTING, Phase.ROLLING_BACK}),
    Phase.STARTING: frozenset({Phase.PROGRESSING, Phase.PROMOTING, Phase.ROLLING_BACK}),
    Phase.PROGRESSING: frozenset({Phase.PROMOTING, Phase.ROLLING_BACK}),
    Phase.PROMOTING: frozenset({Phase.PROBATION, Phase.PROMOTED, Phase.ROLLING_BACK}),
    Phase.PROBATION: frozenset({Phase.PROMOTED, Phase.ROLLING_BACK}),
    Phase.ROLLING_BACK: frozenset({Phase.ROLLED_BACK, Phase.FAILED}),
    **dict.fromkeys(TERMINAL, frozenset()),
}


@dataclass(frozen=True, slots=True)
class Next:
    """What a pass decided. `again`: look again at once, this pass changed what the next one will see."""

    rollout: Rollout
    record: ModelRecord
    events: tuple[Event, ...]
    again: bool = False


class Draft:
    def __init__(self, rollout: Rollout, record: ModelRecord, observed: Observed) -> None:
        self.before = rollout
        self.spec = rollout.spec
        self.requests = rollout.requests
        self.status = _mended(rollout.status, observed.now)
        self.record = record
        self.observed = observed
        self.now = observed.now
        self.events: list[Event] = []
        self.holds: dict[HoldReason, str] = {}

    @property
    def here(self) -> str:
        return f"version {self.spec.version} of {self.spec.model}"

    def say(self, message: str) -> None:
        self.status = replace(self.status, message=message)

    def tell(self, kind: Kind, sentence: str, **data: object) -> None:
        self.events.append(Event(self.before.id, self.spec.model, self.now, kind, sentence, data=data))

    def move(self, phase: Phase, sentence: str) -> None:
        """Change the phase. An illegal move is a programming error."""
        if phase not in MOVES[self.status.phase]:
            raise AssertionError(f"illegal move {self.status.phase} -> {phase}")
        self.status = replace(self.status, phase=phase, phase_since=self.now, step_since=None, message=sentence)
        if phase in TERMINAL:
            self.status = replace(self.status, ended_at=self.now)
        self.tell(Kind.ENDED if phase in TERMINAL else Kind.PHASE, sentence, phase=phase.value)

    def set_split(self, split: Split | None) -> None:
        """The desired split; every change opens a new epoch."""
        if split != self.record.split:
            self.record = replace(self.record, split=split, epoch=self.record.epoch + 1)
        if split is not None and split.weight_pct(self.spec.version):
            self.status = replace(self.status, had_traffic=True)

    def note(self, *notes: RegistryNote) -> None:
        self.record = replace(self.record, outbox=(*self.record.outbox, *notes))

    def hold(self, reason: HoldReason, detail: str) -> None:
        self.holds[reason] = detail

    def held_for_s(self, reason: HoldReason) -> float:
        """How long this hold has lasted without a break, this pass included."""
        since = next((hold.since for hold in self.status.holds if hold.reason is reason), self.now)
        return (self.now - since).total_seconds()

    def elapsed(self, seconds: float) -> bool:
        """Has the phase lasted so long?"""
        return self.now - self.status.phase_since >= timedelta(seconds=seconds)

    def deployment(self, version: int | None) -> Deployment | None:
        if isinstance(self.observed.deployments, Unknown):
            return None
        return next((found for found in self.observed.deployments if found.version == version), None)

    def acknowledged(self) -> bool:
        """Every connected gateway runs the desired split; a hold says why not, unless it is only a matter of time."""
        gateway = self.observed.gateway
        if isinstance(gateway, Unknown):
            return False
        if gateway.ack is Ack.AWAY:
            self.hold(HoldReason.GATEWAY_AWAY, "no gateway is connected; those running keep their last split")
        if gateway.ack is Ack.REFUSED:
            words = "; ".join(f"{node.id}: {node.detail}" for node in gateway.nodes if node.ack is Ack.REFUSED)
            self.hold(HoldReason.GATEWAY_REFUSED, words or "the gateway refused the configuration")
        if gateway.ack is not Ack.YES:
            return False
        if self.record.split is None:
            return gateway.published is None and gateway.acked is None
        acked = gateway.acked
        return acked is not None and acked.split == self.record.split and acked.epoch == self.record.epoch

    def finish(self) -> Next:
        was = {hold.reason: hold for hold in self.status.holds}
        holds = tuple(
            Hold(reason, was[reason].since if reason in was else self.now, detail)
            for reason, detail in sorted(self.holds.items())
        )
        for hold in holds:
            if hold.reason not in was:
                self.tell(Kind.HOLD, f"Held ({hold.reason}): {hold.detail}", reason=hold.reason.value)
        for reason in was:
            if reason not in self.holds:
                self.tell(Kind.RELEASED, f"No longer held: {reason}", reason=reason.value)
        self.status = replace(self.status, holds=holds)
        after = replace(self.before, status=self.status)
        check_invariants(after, self.record)
        moved = after.status.phase is not self.before.status.phase or after.status.step != self.before.status.step
        return Next(after, self.record, tuple(self.events), again=moved and after.open)


def _mended(status: Status, now: datetime) -> Status:
    """Times from the future (an earlier process had a later clock) become now: waits start afresh, none lasts for ever."""
    return replace(
        status,
        phase_since=min(now, status.phase_since),
        step_since=status.step_since and min(now, status.step_since),
        holds=tuple(replace(hold, since=min(now, hold.since)) for hold in status.holds),
    )


def check_invariants(rollout: Rollout, record: ModelRecord) -> None:
    """What must hold after every pass, whatever the world did.

    A version with weight had been ready; a rolled back or failed one has no weight; a promoted one has all of it and is
    the champion; canary steps exist only beside a champion; a ramp stays at or below its hold share. (That weights sum to 100 is Split's own rule.)
    """
    spec, status = rollout.spec, rollout.status
    weight = record.split.weight_pct(spec.version) if record.split else 0
    assert not weight or status.had_traffic, "a weight without ever having been ready"
    assert status.phase is not Phase.PROGRESSING or spec.champion is not None, "a canary needs a champion"
    if status.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.FAILED):
        assert weight == 0, f"{status.phase} with weight {weight}"
        assert record.champion == spec.champion, f"{status.phase} but the champion is {record.champion}"
    if status.phase is Phase.PROGRESSING and spec.auto is not None:
        assert weight <= spec.auto.hold_pct, f"a ramp that holds at {spec.auto.hold_pct} % gave {weight} %"
    if status.phase is Phase.FAILED:
        assert not status.had_traffic, "failed is for those that never got traffic"
    if status.phase in (Phase.PROBATION, Phase.PROMOTED):
        assert weight == 100, f"{status.phase} with weight {weight}"
        assert record.champion == spec.version, f"{status.phase} but the champion is {record.champion}"
