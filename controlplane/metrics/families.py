"""PURE. What the last looks of the loop saw -> gauges. What is no longer seen is no longer there, so retired versions disappear.

Called by the recorder at each scrape. Knows nothing of Prometheus but names, labels and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from judge.verdict import Finding
from monitoring import names
from rollout import model

from .causes import cause
from .totals import Total

ENDED_SHOWN = timedelta(hours=1)  # long enough for every scrape, short enough that nothing stays for ever

Row = tuple[names.Metric, float, tuple[str, ...]]  # a metric, its value, and the values of its labels


@dataclass(frozen=True, slots=True)
class Look:
    """One model as the loop last saw it. `shares` is the observed split in percent."""

    record: model.ModelRecord
    rollout: model.Rollout | None = None
    gateway: model.GatewayState | None = None
    deployments: tuple[model.Deployment, ...] = ()
    shares: Mapping[int, float] = field(default_factory=dict)
    totals: Mapping[int, Total] = field(default_factory=dict)

    @property
    def versions(self) -> dict[int, str]:
        """Every version in service, with its role."""
        record, rollout = self.record, self.rollout
        trying = rollout.spec.version if rollout is not None and rollout.open else None
        found = {deployment.version for deployment in self.deployments}
        found |= {version for version, _ in record.split.weights} if record.split else set()
        found |= {version for version in (record.champion, trying) if version is not None}
        roles = {record.previous: "previous", trying: "challenger", record.champion: "champion"}
        return {version: roles.get(version, "leaving") for version in sorted(found)}


def rows(look: Look) -> Iterator[Row]:
    """Everything about one model but its counters."""
    name = look.record.model
    yield from _versions(look)
    yield from _split(look)
    if look.gateway is not None:
        yield names.GATEWAY_ACK, 1, (name, look.gateway.ack.value)
        refusing = [node for node in look.gateway.nodes if node.ack is model.Ack.REFUSED]
        yield from ((names.GATEWAY_REFUSED, 1, (name, node.id)) for node in refusing)
    if look.rollout is not None and look.rollout.open:
        yield from _rollout(look.rollout)


def ended(rollout: model.Rollout, now: datetime) -> Iterator[Row]:
    """Of a model's last rollout that ended: when, and for a while the transition itself."""
    status = rollout.status
    if status.ended_at is None:
        return
    yield names.ENDED, status.ended_at.timestamp(), (rollout.spec.model, status.phase.value)
    if now - status.ended_at < ENDED_SHOWN:
        yield _transition(rollout)


def _versions(look: Look) -> Iterator[Row]:
    name = look.record.model
    for version, role in look.versions.items():
        yield names.VERSION_INFO, 1, (name, str(version), role)
    for deployment in look.deployments:
        labels = (name, str(deployment.version))
        yield names.REPLICAS_WANTED, deployment.wanted, labels
        yield names.REPLICAS_READY, len(deployment.endpoints), labels


def _split(look: Look) -> Iterator[Row]:
    """Zeros for versions without a weight, so that a line goes down to zero and does not stop above it."""
    acked = look.gateway.acked.split if look.gateway is not None and look.gateway.acked is not None else None
    for source, split in (("desired", look.record.split), ("acked", acked)):
        if split is not None:
            for version in look.versions:
                yield names.WEIGHT, split.weight_pct(version) / 100, (look.record.model, str(version), source)
    if look.shares:
        for version in look.versions:
            yield names.WEIGHT, look.shares.get(version, 0.0) / 100, (look.record.model, str(version), "observed")


def _transition(rollout: model.Rollout) -> Row:
    labels = (rollout.spec.model, str(rollout.spec.version), rollout.status.phase.value, cause(rollout).value)
    return names.TRANSITION, rollout.status.phase_since.timestamp(), labels


def _rollout(rollout: model.Rollout) -> Iterator[Row]:
    """Of an open one."""
    name, version, status = rollout.spec.model, str(rollout.spec.version), rollout.status
    yield _transition(rollout)
    yield names.PHASE, 1, (name, status.phase.value)
    if rollout.spec.strategy is model.Strategy.CANARY:
        yield names.STEP, min(status.step, len(rollout.spec.steps) - 1) + 1, (name,)
        yield names.STEPS, len(rollout.spec.steps), (name,)
        if status.phase is model.Phase.PROGRESSING and status.step_since is not None:
            yield names.STEP_SINCE, status.step_since.timestamp(), (name, version, str(status.step + 1))
    for hold in status.holds:
        yield names.HOLD, 1, (name, hold.reason.value)
    if status.verdict is not None:
        yield names.VERDICT_LABEL, 1, (name, version, status.verdict.label.value)
        yield names.VERDICT_EVIDENCE, status.verdict.evidence, (name, version)
        yield names.VERDICT_THRESHOLD, status.verdict.threshold, (name, version)
        for finding in status.verdict.findings:
            yield from _finding(finding, (name, version, finding.guard))


def _finding(finding: Finding, labels: tuple[str, ...]) -> Iterator[Row]:
    yield names.FINDING_LABEL, 1, (*labels, finding.label.value)
    for side, evidence, threshold in (
        ("rollback", finding.evidence, finding.threshold),
        ("promotion", finding.promotion_evidence, finding.promotion_threshold),
    ):
        yield names.FINDING_EVIDENCE, evidence, (*labels, side)
        yield names.FINDING_THRESHOLD, threshold, (*labels, side)
    effect = finding.effect
    for bound, value in (("estimate", effect.ratio), ("low", effect.low), ("high", effect.high)):
        if value is not None:
            yield names.FINDING_EFFECT, value, (*labels, bound)
    if finding.more_requests is not None:
        yield names.FINDING_MORE, finding.more_requests, labels
