"""What the judge says: one finding per guard, and the verdict that combines them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .policy import Action


class Label(StrEnum):
    """The four answers. Blind is not bad, and no data is not good."""

    PASS = "pass"  # noqa: S105 - shown to be within the margin
    FAIL = "fail"  # shown to be worse than tolerated
    INSUFFICIENT = "insufficient"  # the evidence does not suffice yet
    BLIND = "blind"  # the counts could not be read


@dataclass(frozen=True, slots=True)
class Effect:
    """How the challenger compares with the champion: a ratio with its anytime-valid confidence interval (None: nothing known).

    of: what it is the ratio of, for people: "error rate", "p99 latency", "share of class 3".
    """

    ratio: float | None
    low: float | None
    high: float | None
    of: str = "error rate"


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity on both sides, for people to read: `error_rate` (0 to 1), `p99_ms`, `share_of_3`; None: not seen."""

    name: str
    champion: float | None
    challenger: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's state now.

    evidence / threshold: log10 of the e-value for "worse than tolerated" and of what it would have to reach to decide alone.
    promotion_evidence / promotion_threshold: the same for "within the margin".
    p_value: anytime-valid, min(1, 1 / max E). *_requests: what was compared; *_errors: those that count as bad for this guard (failed,
    wrong label), 0 where nothing is. more_requests: forecast of challenger requests still needed for `pass` (None: cannot tell,
    or already decided). evidence_per_1000: log10 of evidence against it gained per 1000 challenger requests so far.
    action: what a `fail` of this guard does. mode: `exact`, or `block` where its errors come in bursts.
    """

    guard: str
    label: Label
    sentence: str
    effect: Effect
    evidence: float
    threshold: float
    promotion_evidence: float
    promotion_threshold: float
    p_value: float
    champion_requests: int
    champion_errors: int
    challenger_requests: int
    challenger_errors: int
    more_requests: int | None = None
    evidence_per_1000: float | None = None
    measures: tuple[Measure, ...] = ()
    action: Action = Action.ROLL_BACK
    mode: str = "exact"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings together.

    label: fail if the guards that may roll back have refuted together that it is tolerable, else the worst of the others: blind, then
    insufficient, then pass. evidence / threshold: log10 of the weighted average of those guards' e-values, and of 1/alpha.
    """

    judge: str
    label: Label
    findings: tuple[Finding, ...]
    evidence: float = 0.0
    threshold: float = 0.0

    @property
    def reason(self) -> str:
        """The sentence of the finding that carries the label: the strongest that fails, else the one with the longest way to go."""
        carrying = [f for f in self.findings if f.label is self.label and f not in self.holding]
        if self.label is Label.FAIL:
            carrying.sort(key=lambda finding: finding.threshold - finding.evidence)
        else:
            carrying.sort(key=lambda finding: -(finding.more_requests or 0))
        return carrying[0].sentence if carrying else ""

    @property
    def holding(self) -> tuple[Finding, ...]:
        """Failed guards of which the policy says that a person shall look, not that it is rolled back."""
        return tuple(f for f in self.findings if f.label is Label.FAIL and f.action is Action.HOLD)
