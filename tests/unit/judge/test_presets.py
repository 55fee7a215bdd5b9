"""Policies by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.commands import start
from judge import forecast, presets
from judge.policy import (
    DisagreementGuard,
    ErrorRateGuard,
    Fallback,
    InvalidPolicy,
    LatencyGuard,
    Mode,
    Policy,
    PredictionShiftGuard,
    QualityGuard,
)


def test_standard_is_what_an_empty_policy_means() -> None:
    assert presets.PRESETS["standard"] == Policy()


def test_the_command_line_knows_the_same_names() -> None:
    assert set(start.PRESETS) == set(presets.PRESETS)


def test_the_careful_needs_more_requests_than_the_fast() -> None:
    needs = [forecast.requests_to_pass(presets.PRESETS[name], 0.005, 20) for name in ("fast", "standard", "cautious")]
    assert needs == sorted(needs)
    assert needs[0] < needs[2] / 3


def test_alpha_is_shared_by_the_guards_that_may_roll_back() -> None:
    policy = Policy(quality=QualityGuard(), prediction_shift=PredictionShiftGuard())
    shares = {name: policy.weight_of(name) for name, _ in policy.guards()}
    assert shares["error_rate"] + shares["latency"] + shares["quality"] == pytest.approx(1.0)
    assert shares["prediction_shift"] == 1.0, "it only holds, and spends an alpha of its own"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tolerance_pct": 30.0}, "tolerance_pct < margin_pct"),
        ({"tolerance_ms": 9.0}, "tolerance_ms <= margin_ms"),
        ({"floor_pct": 100.0}, "floor_pct"),
        ({"quantiles_pct": (99.0, 50.0)}, "quantiles_pct"),
        ({"quantiles_pct": (20.0,)}, "at least floor_pct"),
        ({"warm_up_requests": -1}, "warm_up_requests"),
        ({"weight": 0.0}, "weight"),
        ({"block_s": 0.0}, "block_s"),
        ({"mode": Mode.BLOCK, "block_s": float("nan")}, "block_s"),
    ],
)
def test_nonsense_is_refused_by_name(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidPolicy, match=message):
        LatencyGuard(**changed)  # type: ignore[arg-type]


NAN = float("nan")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ErrorRateGuard(tolerance_ratio=2.5), "error_rate: need 1 <= tolerance_ratio < margin_ratio"),
        (lambda: ErrorRateGuard(tolerance_ratio=0.9), "error_rate: need 1 <= tolerance_ratio"),
        (lambda: ErrorRateGuard(tolerance_pct=1.0), "error_rate: need 0 <= tolerance_pct < margin_pct"),
        (lambda: ErrorRateGuard(margin_pct=100.0), "margin_pct < 100"),
        (lambda: ErrorRateGuard(margin_ratio=NAN), "margin_ratio"),
        (lambda: ErrorRateGuard(burst_pct=0.0), "error_rate: need 1 <= burst_pct"),
        (lambda: QualityGuard(tolerance_ratio=1.5), "quality: need 1 <= tolerance_ratio < margin_ratio"),
        (lambda: QualityGuard(tolerance_pct=3.0), "quality: need 0 <= tolerance_pct < margin_pct"),
        (lambda: DisagreementGuard(tolerance_ratio=2.0), "disagreement: need 1 <= tolerance_ratio < margin_ratio"),
        (lambda: PredictionShiftGuard(tolerance_odds=0.5), "prediction_shift: need 1 <= tolerance_odds"),
        (lambda: PredictionShiftGuard(margin_pct=0.0), "prediction_shift: need 0 < margin_pct"),
        (lambda: PredictionShiftGuard(weight=NAN), "prediction_shift: need 0 < weight"),
        (lambda: Policy(alpha=0.0), "alpha must be above 0"),
        (lambda: Policy(alpha=NAN), "alpha must be above 0"),
        (lambda: Policy(beta=0.3), "beta must be above 0 and at most 0.2"),
        (lambda: Policy(insufficient_deadline_s=0.0), "insufficient_deadline_s must be between"),
        (lambda: Policy(blind_deadline_s=float("inf")), "blind_deadline_s must be between"),
        (lambda: Policy(on_blind=Fallback.PROMOTE), "a version nobody can see is never promoted"),
    ],
)
def test_every_guard_and_the_policy_refuse_nonsense(made: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidPolicy, match=message):
        made()
