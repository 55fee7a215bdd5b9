"""Promotion by latency on a machine that stutters: what both versions suffer costs a healthy one some seconds, and helps no slow one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from judge import bins, forecast, latency, latency_margin
from judge.policy import LatencyGuard, Policy
from judge.samples import Arm, Counts, Window

Floats = NDArray[np.float64]
Slow = Callable[[int, int], float]  # second (negative: before there was a challenger), arm -> part of the answers that are slow

GUARD = LatencyGuard(tolerance_ms=50.0, margin_ms=200.0, quantiles_pct=(50.0, 90.0))
NEEDED = math.log(20.0)  # beta .05
PER_S = 60.0
STARTED_S = 6  # the champion alone, while the challenger's replicas start


def healthy(_second: int, _arm: int) -> float:
    return 0.0


def counted(rng: np.random.Generator, requests: int, slow: float, quick_us: Floats | None = None) -> Counts:
    """Around 8 ms; slow ones take 300 to 1300 ms more."""
    quick = rng.lognormal(math.log(8e3), 0.35, requests) if quick_us is None else rng.choice(quick_us, requests)
    answers = np.where(rng.random(requests) < slow, quick + rng.uniform(300e3, 1300e3, requests), quick)
    found = np.bincount(bins.index_of(answers), minlength=bins.BINS)
    return tuple((int(index), int(found[index])) for index in np.flatnonzero(found))


def seconds_to_pass(
    slow: Slow, *, seed: int, guard: LatencyGuard = GUARD, most_s: int = 240, quick_us: Floats | None = None
) -> float:
    """At a share of one half; inf: not within most_s."""
    rng = np.random.default_rng(seed)
    before = [counted(rng, int(rng.poisson(PER_S)), slow(second, 0), quick_us) for second in range(-STARTED_S, 0)]
    past: dict[int, int] = {}
    for index, number in (pair for each in before for pair in each):
        past[index] = past.get(index, 0) + number
    known = latency.opened(guard, tuple(sorted(past.items())))
    for second in range(most_s):
        arms = [
            Arm(n, 0, counted(rng, n, slow(second, arm), quick_us))
            for arm, n in enumerate(rng.poisson(PER_S / 2.0, 2).tolist())
        ]
        known = latency.after(known, guard, Window(1, arms[0], arms[1]), log_cap=20.0)
        if known.promotion >= NEEDED:
            return second + 1.0
    return math.inf


def times(slow: Slow, rollouts: int = 12, **options: object) -> Floats:
    return np.array([seconds_to_pass(slow, seed=seed, **options) for seed in range(rollouts)])  # type: ignore[arg-type]  # passed on


def test_a_quiet_machine_promotes_in_seconds() -> None:
    assert times(healthy).mean() <= 5.0


@pytest.mark.parametrize(
    "slow",
    [
        lambda second, _: 0.3 if -4 <= second < 0 else 0.0,
        lambda second, _: 1.0 if -3 <= second < 0 else 0.0,
    ],
    ids=["30 % for 4 s", "all for 3 s"],
)
def test_a_champion_that_was_slow_while_the_challenger_started_delays_little(slow: Slow) -> None:
    """Replicas that load a model take the processors from those that serve. The champion's p90 from then lies where nobody answers any more."""
    assert times(slow).mean() <= 12.0


@pytest.mark.parametrize(("stalled_s", "within_s"), [(1, 40.0), (3, 90.0)])
def test_what_both_versions_suffer_together_is_made_up_for(stalled_s: int, within_s: float) -> None:
    """Until a tenth of the champion's answers is no longer of the stall: some twenty times as long as it lasted."""
    assert times(lambda second, _: 1.0 if 0 <= second < stalled_s else 0.0).mean() <= within_s


def test_both_slow_now_and_then_for_ever_is_no_obstacle() -> None:
    assert np.median(times(lambda second, _: 0.15 if second >= 0 else 0.0)) <= 120.0


def test_a_version_at_the_margin_of_a_quantile_is_promoted_at_most_at_beta() -> None:
    """A tenth of its answers takes a slow path: its p90 is that path."""
    only_p90 = LatencyGuard(tolerance_ms=50.0, margin_ms=200.0, quantiles_pct=(90.0,))
    found = times(lambda _, arm: 0.1 * arm, 40, guard=only_p90, most_s=120)
    assert np.isfinite(found).mean() <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / 40)


@pytest.mark.parametrize("slow", [0.12, 0.3])
def test_a_champion_whose_answers_share_one_bin_has_quantiles_too(slow: float) -> None:
    """Its p50 and p90 are the same, what may lie beyond them is not."""
    assert not np.isfinite(times(lambda _, arm: slow * arm, 6, quick_us=np.array([8050.0]))).any()
    assert times(healthy, 4, quick_us=np.array([8050.0])).mean() <= 5.0


def test_a_version_that_stalls_by_itself_is_not_promoted_for_the_seconds_between() -> None:
    assert np.isfinite(times(lambda second, arm: float(arm and second % 5 == 1 and second > 0), 8)).mean() <= 0.25


def test_the_forecast_is_as_long_as_it_takes() -> None:
    rng = np.random.default_rng(3)
    guard = LatencyGuard(margin_ms=5.0, margin_pct=100.0)
    known = counted(rng, 20_000, 0.02)
    expected = forecast.latency_requests_to_pass(Policy(latency=guard), known, 50.0)
    took = times(lambda _second, _arm: 0.02, 8, guard=guard, most_s=900).mean() * PER_S / 2.0
    assert expected == pytest.approx(took, rel=1.0)


def test_cuts_leave_beyond_them_what_the_quantile_says() -> None:
    at = latency_margin.cuts(((100, 700), (150, 250), (200, 50)), GUARD)
    beyond = at.above + at.part * at.inside
    assert beyond == pytest.approx([0.5, 0.1], abs=0.01)
    assert (beyond <= [0.5, 0.1]).all()
