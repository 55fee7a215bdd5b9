"""What is promised: false rollbacks at most alpha, wrong promotions at most beta, and decisions near the table of the method.

Fixed seeds; each bound allows two standard errors, so a judge that peeks, double counts or bets on the configured share fails here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from judge.policy import ErrorRateGuard, Policy

# Hardly any tolerance, so that equal versions lie on the edge of the null instead of well inside.
STRICT = Policy(alpha=0.05, error_rate=ErrorRateGuard(1.0, 0.0, 2.0, 1.0))
DEFAULT = Policy(alpha=0.05)
ROLLOUTS = 1200


def most(probability: float, rollouts: int = ROLLOUTS) -> float:
    return probability + 2.0 * math.sqrt(probability * (1.0 - probability) / rollouts)


def ramp(p0: float, p1: float, windows: int = 60) -> list[tuple[float, float, float]]:
    return [(share, p0, p1) for share in (0.01, 0.05, 0.2, 0.5) for _ in range(windows)]


def incidents(schedule: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """A slow wave, and three common incidents with twenty times the errors on both arms (at most 90 %)."""
    bad = {at + i for at in (20, 110, 200) for i in range(6)}
    factors = [(20.0 if i in bad else 1.0) * (1.0 + 0.5 * math.sin(i / 20.0)) for i in range(len(schedule))]
    return [(share, p0 * min(f, 0.9 / p1), min(p1 * f, 0.9)) for (share, p0, p1), f in zip(schedule, factors, strict=True)]


EQUAL = {
    "constant share": [(0.05, 0.01, 0.01)] * 240,
    "ramp": ramp(0.01, 0.01),
    "ramp up and down": ramp(0.005, 0.005)[:180] + ramp(0.005, 0.005)[60:120],
    "ramp with incidents on both arms": incidents(ramp(0.005, 0.005)),
    "rare errors": ramp(0.0005, 0.0005),
    "every third request fails": ramp(0.3, 0.3),
    "every second request fails": ramp(0.5, 0.5),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_versions_are_rolled_back_at_most_at_alpha(run: Callable[..., Any], name: str) -> None:
    batch = run(STRICT, EQUAL[name], seed=11, rollouts=ROLLOUTS, requests=2000)
    assert (batch.rolled_back >= 0).mean() <= most(STRICT.alpha)


@pytest.mark.parametrize(
    ("p0", "p1"), [(0.02, 0.022), (0.3, 0.33), (0.002, 0.003), (0.0, 0.001)], ids=["ratio", "high", "points", "from zero"]
)
def test_a_version_at_the_edge_of_tolerance_is_rolled_back_at_most_at_alpha(
    run: Callable[..., Any], p0: float, p1: float
) -> None:
    batch = run(DEFAULT, ramp(p0, p1), seed=12, rollouts=ROLLOUTS, requests=2000)
    assert (batch.rolled_back >= 0).mean() <= most(DEFAULT.alpha)


def test_tolerated_here_by_ratio_and_there_by_points_is_still_tolerated(run: Callable[..., Any]) -> None:
    # neither process alone holds then; that both have to agree keeps it rare
    rates = [0.02 if i % 120 < 6 else 0.001 for i in range(360)]
    schedule = [(0.2, p0, max(1.1 * p0, p0 + 0.001)) for p0 in rates]
    batch = run(DEFAULT, schedule, seed=20, rollouts=ROLLOUTS, requests=2000)
    assert (batch.rolled_back >= 0).mean() <= most(DEFAULT.alpha)


@pytest.mark.parametrize("p0", [0.01, 0.3])
def test_a_tolerance_in_points_alone_is_exact_at_any_rate(run: Callable[..., Any], p0: float) -> None:
    # the relative process is made certain to agree (a challenger twice as bad is tolerated by points only)
    policy = Policy(alpha=0.05, error_rate=ErrorRateGuard(1.0, 100.0 * p0, 3.0, 99.0))
    batch = run(policy, ramp(p0, 2.0 * p0), seed=13, rollouts=ROLLOUTS, requests=2000)
    assert (batch.rolled_back >= 0).mean() <= most(policy.alpha)


@pytest.mark.parametrize(
    ("p0", "p1"), [(0.03, 0.06), (0.005, 0.015), (0.01, 0.02), (0.0, 0.01)], ids=["ratio", "points", "both", "from zero"]
)
def test_a_version_at_the_margin_is_promoted_at_most_at_beta(run: Callable[..., Any], p0: float, p1: float) -> None:
    batch = run(DEFAULT, incidents(ramp(p0, p1)) if p0 == 0.03 else ramp(p0, p1), seed=14, rollouts=ROLLOUTS)
    assert (batch.passed >= 0).mean() <= most(DEFAULT.beta)


@pytest.mark.parametrize(
    ("p0", "p1", "share", "table_s"),
    [
        (0.01, 0.05, 0.05, 19),
        (0.01, 0.02, 0.05, 163),
        (0.001, 0.005, 0.05, 163),
        (0.01, 0.02, 0.2, 49),
        (0.001, 0.005, 0.5, 39),
    ],
)
def test_regressions_are_found_near_the_table_of_the_method(
    run: Callable[..., Any], p0: float, p1: float, share: float, table_s: int
) -> None:
    # 200 requests/s, 5 s windows, alpha .01 as in judge.md section 3
    policy = Policy(alpha=0.01, error_rate=STRICT.error_rate)
    batch = run(policy, [(share, p0, p1)] * (table_s // 5 * 5 + 10), seed=15, rollouts=300)
    found = batch.rolled_back >= 0
    assert found.mean() >= 0.99
    assert 5.0 * (batch.rolled_back[found].mean() + 1.0) <= 1.1 * table_s


def test_the_default_policy_finds_one_to_five_percent_in_half_a_minute(run: Callable[..., Any]) -> None:
    batch = run(Policy(), [(0.05, 0.01, 0.05)] * 40, seed=16, rollouts=300)
    assert (batch.rolled_back >= 0).mean() >= 0.99
    assert 5.0 * (batch.rolled_back.mean() + 1.0) <= 28.0


def test_a_regression_after_half_an_hour_is_still_found_soon(run: Callable[..., Any]) -> None:
    late = 180  # windows of 10 s
    batch = run(
        Policy(alpha=0.01), [(0.05, 0.01, 0.01)] * late + [(0.05, 0.01, 0.05)] * 30, seed=17, rollouts=300, requests=2000
    )
    found = batch.rolled_back >= late
    assert found.mean() >= 0.98
    assert 10.0 * (batch.rolled_back[found] - late + 1.0).mean() <= 70.0


def test_a_dead_version_is_found_within_ten_failures(run: Callable[..., Any]) -> None:
    batch = run(Policy(alpha=0.01), [(0.05, 0.001, 1.0)] * 5, seed=18, rollouts=300, requests=60)
    assert (batch.rolled_back >= 0).mean() >= 0.98
    assert np.median(batch.requests_at_decision) <= 10


def test_a_better_version_is_never_rolled_back(run: Callable[..., Any]) -> None:
    batch = run(STRICT, ramp(0.01, 0.006), seed=19, rollouts=ROLLOUTS)
    assert (batch.rolled_back >= 0).mean() <= 0.005
