"""What the demo proves: per rollout its end, reason, durations and requests; and whether all went as told. PURE.

Two witnesses that do not know of each other: the clients' own record of every answer, and the gateway's access log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from .depth import Page
from .programs import Answer
from .story import Chapter
from .summer import Told

OURS = ("gateway_or_transport", "unsent", "client_error")  # nobody but slipway and its gateway can have caused these


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """failed_by_version: errors that a version itself answered. failed_because_of_us: everything else that failed.
    decision_to_last_request_ms: from the decision (of the judge, or the operator's request) to the arrival of the last
    request on the version that left; None: it did not leave."""

    rollout: str
    title: str
    version: int
    strategy: str
    outcome: str
    expected: str
    reason: str
    duration_s: float
    phases_s: dict[str, float]
    served: dict[str, int]
    failed_by_version: dict[str, int]
    failed_because_of_us: int
    decision_to_last_request_ms: float | None


@dataclass(frozen=True, slots=True)
class Report:
    model: str
    rollouts: tuple[RolloutReport, ...]
    requests: int
    failed_because_of_us: int
    requests_per_s: float
    latency_ms_p50: float
    latency_ms_p99: float
    champion: int | None
    drift: Told
    page: Page
    problems: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {"as_told": not self.problems, **asdict(self)}


def rollout_report(
    chapter: Chapter,
    rollout: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    answers: Iterable[Answer],
    arrivals: Iterable[tuple[float, int]],
) -> RolloutReport:
    """arrivals: (seconds since 1970, version) of requests through the split, by the gateway's access log."""
    begin, end = _seconds(rollout["created_at"]), _seconds(rollout["ended_at"])
    during = [answer for answer in answers if begin <= answer.at <= end]
    left = _left_ms(rollout, arrivals) if rollout["outcome"] == "rolled_back" else None
    return RolloutReport(
        rollout=rollout["id"],
        title=chapter.title,
        version=chapter.version,
        strategy=chapter.strategy,
        outcome=rollout["outcome"],
        expected=chapter.ends,
        reason=rollout["reason"],
        duration_s=round(end - begin, 2),
        phases_s=_phases(begin, events),
        served=_counts(answer for answer in during if answer.version is not None),
        failed_by_version=_counts(answer for answer in during if answer.outcome == "model_error"),
        failed_because_of_us=sum(answer.outcome in OURS for answer in during),
        decision_to_last_request_ms=left,
    )


def problems(told: Sequence[tuple[Chapter, RolloutReport]], answers: Sequence[Answer], champion: int | None) -> tuple[str, ...]:
    """What did not go as told, one sentence each."""
    found = [
        f"{chapter.title}: ended {report.outcome}, not {chapter.ends} ({report.reason})"
        for chapter, report in told
        if report.outcome != chapter.ends
    ]
    culprits = {chapter.version for chapter, _ in told if chapter.culprit}
    ours = Counter(answer.outcome for answer in answers if answer.outcome in OURS)
    found += [f"{count} requests failed because of us ({outcome})" for outcome, count in sorted(ours.items())]
    others = sum(answer.outcome == "model_error" and answer.version not in culprits for answer in answers)
    if others:
        found.append(f"{others} errors were answered by versions that are not broken")
    if not any(answer.outcome == "model_error" for answer in answers):
        found.append("the broken version never failed, so nothing was proven")
    standing = next((chapter.version for chapter, _ in reversed(told) if chapter.ends == "promoted"), None)
    if champion != standing:
        found.append(f"the alias `champion` names version {champion}, not {standing}")
    return tuple(found)


def percentile(sorted_ms: Sequence[float], share: float) -> float:
    return round(sorted_ms[min(len(sorted_ms) - 1, int(share * len(sorted_ms)))], 2) if sorted_ms else 0.0


def _left_ms(rollout: Mapping[str, Any], arrivals: Iterable[tuple[float, int]]) -> float:
    asked = rollout["requests"]["undo"] or rollout["requests"]["abort"]
    decided = _seconds(asked["at"] if asked else rollout["decided_at"])
    last = max((at for at, version in arrivals if version == rollout["version"]), default=decided)
    return round(max(0.0, last - decided) * 1000, 1)


def _phases(begin: float, events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds spent in each phase, by the history."""
    spent: dict[str, float] = {}
    phase, since = "queued", begin
    for event in events:
        if event["kind"] in ("phase", "ended"):
            at = _seconds(event["at"])
            spent[phase] = round(spent.get(phase, 0.0) + at - since, 2)
            phase, since = str(event["data"]["phase"]), at
    return spent


def _counts(answers: Iterable[Answer]) -> dict[str, int]:
    return {f"v{version}": count for version, count in sorted(Counter(answer.version or 0 for answer in answers).items())}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
