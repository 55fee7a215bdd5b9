"""What is guarded, with which tolerance and margin, at which error probabilities, and what happens when nobody can know.

Policies are values: validated here, stored with the rollout, never read from anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class InvalidPolicy(ValueError):
    """A policy value is out of its range; the message names the field and the fix."""


class Fallback(StrEnum):
    """What to do when a finding stayed insufficient or blind until its deadline."""

    HOLD = "hold"  # keep the split as it is and wait for a human
    ROLL_BACK = "roll_back"  # take the challenger off the traffic
    PROMOTE = "promote"  # go on without the evidence (only sensible for `insufficient`)


@dataclass(frozen=True, slots=True)
class ErrorRateGuard:
    """May the challenger fail more often than the champion?

    Tolerated (never rolled back): error ratio challenger/champion <= tolerance_ratio, or excess <= tolerance_pct points.
    Too bad to promote: ratio >= margin_ratio and excess >= margin_pct points. Between the two either outcome is fine.
    """

    tolerance_ratio: float = 1.1
    tolerance_pct: float = 0.1
    margin_ratio: float = 2.0
    margin_pct: float = 1.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.tolerance_ratio < self.margin_ratio <= 1000.0:
            raise InvalidPolicy("error_rate: need 1 <= tolerance_ratio < margin_ratio <= 1000")
        if not 0.0 < self.tolerance_pct < self.margin_pct < 100.0:
            raise InvalidPolicy("error_rate: need 0 < tolerance_pct < margin_pct < 100 (percentage points)")


@dataclass(frozen=True, slots=True)
class Policy:
    """One rollout's rules.

    alpha: probability of rolling back a tolerated version, over the whole rollout, however often one looks.
    beta: probability of promoting a version beyond the margin.
    insufficient_deadline_s / blind_deadline_s: how long such a finding may hold a step before the fallback applies.
    """

    alpha: float = 0.01
    beta: float = 0.05
    error_rate: ErrorRateGuard = field(default_factory=ErrorRateGuard)
    insufficient_deadline_s: float = 3600.0
    on_insufficient: Fallback = Fallback.HOLD
    blind_deadline_s: float = 900.0
    on_blind: Fallback = Fallback.HOLD

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            if not 0.0 < getattr(self, name) <= 0.2:
                raise InvalidPolicy(f"{name} must be above 0 and at most 0.2")
        for name in ("insufficient_deadline_s", "blind_deadline_s"):
            if not 1.0 <= getattr(self, name) <= 30 * 86400.0:
                raise InvalidPolicy(f"{name} must be between 1 second and 30 days")
        if self.on_blind is Fallback.PROMOTE:
            raise InvalidPolicy("on_blind: a version nobody can see is never promoted; use hold or roll_back")
