"""What the judge says: one finding per guard, and the verdict that combines them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Label(StrEnum):
    """The four answers. Blind is not bad, and no data is not good."""

    PASS = "pass"  # noqa: S105 - shown to be within the margin
    FAIL = "fail"  # shown to be worse than tolerated
    INSUFFICIENT = "insufficient"  # the evidence does not suffice yet
    BLIND = "blind"  # the counts could not be read


@dataclass(frozen=True, slots=True)
class Effect:
    """Ratio of error rates challenger/champion with its anytime-valid confidence interval (None: nothing known)."""

    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's state now.

    evidence / threshold: log10 of the e-value for "worse than tolerated" and of what it must reach to roll back.
    promotion_evidence / promotion_threshold: the same for "within the margin".
    p_value: anytime-valid, min(1, 1 / max E). requests and errors are totals over the judged windows.
    more_requests: forecast of challenger requests still needed for `pass` (None: cannot tell, or already decided).
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings together. The label is the worst of them: fail, then blind, then insufficient, then pass."""

    judge: str
    label: Label
    findings: tuple[Finding, ...]

    @property
    def reason(self) -> str:
        """The sentence of the finding that carries the label."""
        return next((f.sentence for f in self.findings if f.label is self.label), "")
