"""Policies by name."""

from __future__ import annotations

import pytest

from cli.commands import start
from judge import forecast, presets
from judge.policy import InvalidPolicy, LatencyGuard, Mode, Policy, PredictionShiftGuard, QualityGuard


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
