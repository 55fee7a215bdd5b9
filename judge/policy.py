"""What is guarded, with which tolerance and margin, at which error probabilities, and what happens when nobody can know.

Policies are values: validated here, stored with the rollout, never read from anywhere else. Every guard has a *tolerance* (up to
there a version is never rolled back for it, but with probability alpha) and a wider *margin* (from there on it is never promoted,
but with probability beta). In between either outcome is fine.
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


class Action(StrEnum):
    """What a failed guard does."""

    ROLL_BACK = "roll_back"
    HOLD = "hold"  # keep the split as it is and wait for a human


class OnDrift(StrEnum):
    """What to do while the traffic is not what the challenger was trained on, or its data are broken. No version is to blame for its traffic."""

    IGNORE = "ignore"
    HOLD = "hold"  # keep the split as it is while it lasts


class Mode(StrEnum):
    """How the requests of one arm are taken to depend on each other."""

    AUTO = "auto"  # as the A/A self-check of the champion finds
    EXACT = "exact"  # each request on its own
    BLOCK = "block"  # incidents of single replicas: one bounded bet per block of `block_s`


def _need(true: bool, message: str) -> None:  # noqa: FBT001 - a condition
    if not true:
        raise InvalidPolicy(message)


def _check_weight(guard: str, weight: float) -> None:
    _need(0.0 < weight <= 1.0, f"{guard}: need 0 < weight <= 1 (part of alpha; weights are divided by their sum)")


@dataclass(frozen=True, slots=True)
class ErrorRateGuard:
    """May the challenger fail more often than the champion?

    Tolerated (never rolled back): error ratio challenger/champion <= tolerance_ratio, or excess <= tolerance_pct points.
    Too bad to promote: ratio >= margin_ratio and excess >= margin_pct points.
    block_s / burst_pct (mode block): an incident lasts at most so long, and makes at most so many of a version's requests fail meanwhile.
    """

    tolerance_ratio: float = 1.1
    tolerance_pct: float = 0.1
    margin_ratio: float = 2.0
    margin_pct: float = 1.0
    weight: float = 0.4
    mode: Mode = Mode.AUTO
    block_s: float = 30.0
    burst_pct: float = 20.0

    def __post_init__(self) -> None:
        _need(
            1.0 <= self.tolerance_ratio < self.margin_ratio <= 1000.0,
            "error_rate: need 1 <= tolerance_ratio < margin_ratio <= 1000",
        )
        _need(
            0.0 <= self.tolerance_pct < self.margin_pct < 100.0,
            "error_rate: need 0 <= tolerance_pct < margin_pct < 100 (percentage points)",
        )
        _need(1.0 <= self.block_s <= 3600.0, "error_rate: need 1 <= block_s <= 3600")
        _need(1.0 <= self.burst_pct <= 100.0, "error_rate: need 1 <= burst_pct <= 100")
        _check_weight("error_rate", self.weight)


@dataclass(frozen=True, slots=True)
class LatencyGuard:
    """May the challenger answer more slowly? Compared at every quantile from floor_pct upwards; what lies below is nobody's pain.

    Tolerated: at no such quantile slower by more than tolerance_pct and more than tolerance_ms. Too bad to promote: slower by margin_pct and
    by margin_ms or more at one of quantiles_pct. The milliseconds are for models that answer in a few: an equal version with little
    traffic meets cold caches, and looks one or two slower (measured: docs/decisions/0018). Failed requests are not compared: they count for error_rate.
    warm_up_requests: the challenger's first requests, which meet cold caches, are left out. block_s, burst_pct: as of ErrorRateGuard.
    """

    tolerance_pct: float = 10.0
    tolerance_ms: float = 2.0
    margin_pct: float = 30.0
    margin_ms: float = 5.0
    floor_pct: float = 50.0
    quantiles_pct: tuple[float, ...] = (50.0, 90.0, 99.0)
    warm_up_requests: int = 20
    weight: float = 0.3
    mode: Mode = Mode.AUTO
    block_s: float = 30.0
    burst_pct: float = 20.0
    action: Action = Action.ROLL_BACK

    def __post_init__(self) -> None:
        _need(0.0 <= self.tolerance_pct < self.margin_pct <= 1000.0, "latency: need 0 <= tolerance_pct < margin_pct <= 1000")
        _need(0.0 <= self.tolerance_ms <= self.margin_ms <= 60_000.0, "latency: need 0 <= tolerance_ms <= margin_ms <= 60000")
        _need(0.0 <= self.floor_pct < 100.0, "latency: need 0 <= floor_pct < 100")
        ascending = self.quantiles_pct == tuple(sorted(set(self.quantiles_pct)))
        inside = all(self.floor_pct <= q < 100.0 for q in self.quantiles_pct)
        _need(
            bool(self.quantiles_pct) and len(self.quantiles_pct) <= 9 and ascending and inside,
            "latency: need 1 to 9 ascending quantiles_pct, each at least floor_pct and below 100",
        )
        _need(0 <= self.warm_up_requests <= 100_000, "latency: need 0 <= warm_up_requests <= 100000")
        _need(1.0 <= self.block_s <= 3600.0, "latency: need 1 <= block_s <= 3600")
        _need(1.0 <= self.burst_pct <= 100.0, "latency: need 1 <= burst_pct <= 100")
        _check_weight("latency", self.weight)


@dataclass(frozen=True, slots=True)
class PredictionShiftGuard:
    """Does the challenger answer otherwise? A new model is meant to, so this holds rather than rolls back.

    Tolerated: the odds of every class (or of every cut of the score) changed by at most the factor tolerance_odds, either way.
    Too much to promote: the share of a class (the part above a cut) changed by margin_pct points or more.
    ordered: the answers are scores, in order, or else classes; None: as they come.
    """

    tolerance_odds: float = 1.25
    margin_pct: float = 10.0
    ordered: bool | None = None
    weight: float = 0.1
    action: Action = Action.HOLD

    def __post_init__(self) -> None:
        _need(1.0 <= self.tolerance_odds <= 1000.0, "prediction_shift: need 1 <= tolerance_odds <= 1000")
        _need(0.0 < self.margin_pct < 100.0, "prediction_shift: need 0 < margin_pct < 100 (percentage points)")
        _check_weight("prediction_shift", self.weight)


@dataclass(frozen=True, slots=True)
class QualityGuard:
    """Is the challenger wrong more often, where the truth came in later? Fields as in ErrorRateGuard, of labelled requests."""

    tolerance_ratio: float = 1.05
    tolerance_pct: float = 0.1
    margin_ratio: float = 1.3
    margin_pct: float = 2.0
    weight: float = 0.2
    action: Action = Action.ROLL_BACK

    def __post_init__(self) -> None:
        _need(
            1.0 <= self.tolerance_ratio < self.margin_ratio <= 1000.0,
            "quality: need 1 <= tolerance_ratio < margin_ratio <= 1000",
        )
        _need(
            0.0 <= self.tolerance_pct < self.margin_pct < 100.0,
            "quality: need 0 <= tolerance_pct < margin_pct < 100 (percentage points)",
        )
        _check_weight("quality", self.weight)


@dataclass(frozen=True, slots=True)
class DisagreementGuard:
    """Of pairs that both versions answered and only one got wrong: does the challenger lose more of them?

    Tolerated: it loses at most tolerance_ratio times as many as it wins. Too bad to promote: margin_ratio times or more.
    """

    tolerance_ratio: float = 1.1
    margin_ratio: float = 1.5
    weight: float = 0.2
    action: Action = Action.ROLL_BACK

    def __post_init__(self) -> None:
        _need(
            1.0 <= self.tolerance_ratio < self.margin_ratio <= 1000.0,
            "disagreement: need 1 <= tolerance_ratio < margin_ratio <= 1000",
        )
        _check_weight("disagreement", self.weight)


Guard = ErrorRateGuard | LatencyGuard | PredictionShiftGuard | QualityGuard | DisagreementGuard


@dataclass(frozen=True, slots=True)
class Policy:
    """One rollout's rules.

    alpha: probability of rolling back a tolerated version, over the whole rollout, however often one looks. It is shared by the
    guards that may roll back, by their weights.
    beta: probability of promoting a version beyond the margin of any guard.
    A guard that is None is not asked. The last three need data that not every model has.
    on_drift: looks at the challenger's drift verdict, no evidence of the judge's.
    insufficient_deadline_s / blind_deadline_s: how long such a finding may hold a step before the fallback applies.
    """

    alpha: float = 0.01
    beta: float = 0.05
    error_rate: ErrorRateGuard = field(default_factory=ErrorRateGuard)
    latency: LatencyGuard | None = field(default_factory=LatencyGuard)
    prediction_shift: PredictionShiftGuard | None = None
    quality: QualityGuard | None = None
    disagreement: DisagreementGuard | None = None
    insufficient_deadline_s: float = 3600.0
    on_insufficient: Fallback = Fallback.HOLD
    blind_deadline_s: float = 900.0
    on_blind: Fallback = Fallback.HOLD
    on_drift: OnDrift = OnDrift.IGNORE

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            _need(0.0 < getattr(self, name) <= 0.2, f"{name} must be above 0 and at most 0.2")
        for name in ("insufficient_deadline_s", "blind_deadline_s"):
            _need(1.0 <= getattr(self, name) <= 30 * 86400.0, f"{name} must be between 1 second and 30 days")
        _need(
            self.on_blind is not Fallback.PROMOTE,
            "on_blind: a version nobody can see is never promoted; use hold or roll_back",
        )

    def guards(self) -> tuple[tuple[str, Guard], ...]:
        """The guards that are asked, by name."""
        names = ("error_rate", "latency", "prediction_shift", "quality", "disagreement")
        asked: list[tuple[str, Guard]] = [(name, guard) for name in names if (guard := getattr(self, name)) is not None]
        return tuple(asked)

    def weight_of(self, name: str) -> float:
        """The part of alpha that this guard may spend. A guard that only holds spends its own part of a second alpha: of holding for nothing."""
        guard: Guard = getattr(self, name)
        action = getattr(guard, "action", Action.ROLL_BACK)
        sharing = [other.weight for _, other in self.guards() if getattr(other, "action", Action.ROLL_BACK) is action]
        return guard.weight / sum(sharing)
