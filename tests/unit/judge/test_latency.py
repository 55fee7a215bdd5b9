"""The latency guard: faster is never punished, slower is found, and what crosses below the median is nobody's business."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from judge import bins, latency, latency_margin, slowdowns
from judge.policy import LatencyGuard
from judge.samples import Arm, Counts, Window

Floats = NDArray[np.float64]
STRICT = LatencyGuard(tolerance_pct=0.0, tolerance_ms=0.0)
CAP = math.log(20.0)  # alpha .05
DRAWS = 400_000


def base(rng: np.random.Generator) -> Floats:
    """A service with a slow path: 95 % around 50 ms, 5 % around 200 ms."""
    slow = rng.random(DRAWS) < 0.05
    return np.where(slow, rng.lognormal(math.log(200e3), 0.5, DRAWS), rng.lognormal(math.log(50e3), 0.5, DRAWS))


def histogram(latency_us: Floats) -> Floats:
    found: Floats = np.bincount(bins.index_of(latency_us), minlength=bins.BINS) / len(latency_us)
    return found


CHAMPION = histogram(base(np.random.default_rng(1)))


def changed(change: Callable[[Floats], Floats], seed: int = 2) -> Floats:
    return histogram(change(base(np.random.default_rng(seed))))


def sparse(counts: NDArray[np.int64]) -> Counts:
    return tuple((int(index), int(counts[index])) for index in np.flatnonzero(counts))


def rollout(
    challenger: Floats, guard: LatencyGuard, *, seed: int, share: float = 0.2, seconds: int = 120, until_decided: bool = False
) -> tuple[latency.Evidence, int]:
    """200 requests/s read every second; what is known in the end, and after how many seconds."""
    rng = np.random.default_rng(seed)
    known = latency.opened(guard, sparse(rng.multinomial(2000, CHAMPION)))
    for second in range(1, seconds + 1):
        n1, n0 = rng.poisson(200 * share), rng.poisson(200 * (1 - share))
        arms = (Arm(n0, 0, sparse(rng.multinomial(n0, CHAMPION))), Arm(n1, 0, sparse(rng.multinomial(n1, challenger))))
        known = latency.after(known, guard, Window(1, *arms), log_cap=CAP)
        if until_decided and known.peak >= CAP:
            return known, second
    return known, seconds


def most(alpha: float, rollouts: int) -> float:
    return alpha + 2.0 * math.sqrt(alpha * (1.0 - alpha) / rollouts)


def test_equal_versions_are_rolled_back_at_most_at_alpha() -> None:
    rollouts = 60
    fired = sum(rollout(CHAMPION, STRICT, seed=seed, until_decided=True)[0].peak >= CAP for seed in range(rollouts))
    assert fired / rollouts <= most(0.05, rollouts)


@pytest.mark.parametrize("faster", [0.9, 0.5])
def test_a_faster_version_is_never_rolled_back(faster: float) -> None:
    assert all(rollout(changed(lambda x: x * faster), STRICT, seed=seed)[0].peak < CAP for seed in range(8))


def test_better_quantiles_but_a_slower_fast_quarter_is_better() -> None:
    """What lies below the floor is not bet on: judged from the first quantile up, this version would go at once."""
    crossing = changed(lambda x: np.where(x < 35e3, x * 1.3, x * 0.95))
    assert all(rollout(crossing, STRICT, seed=seed)[0].peak < CAP for seed in range(8))
    everywhere = LatencyGuard(tolerance_pct=0.0, tolerance_ms=0.0, floor_pct=0.0)
    assert rollout(crossing, everywhere, seed=1)[0].peak >= CAP


@pytest.mark.parametrize(
    ("change", "within_s"),
    [
        (lambda x: x * 1.1, 60),
        (lambda x: np.where(np.arange(len(x)) % 33 == 0, x + 300e3, x), 30),
        (lambda x: np.where(x > 120e3, x * 1.6, x), 60),
        (lambda x: x * 2.0, 5),
    ],
    ids=["all 10 %", "3 % slow path", "tail", "twice"],
)
def test_slower_versions_are_found(change: Callable[[Floats], Floats], within_s: int) -> None:
    seconds = [rollout(changed(change), STRICT, seed=seed, until_decided=True)[1] for seed in range(12)]
    assert np.mean(seconds) <= within_s


def test_what_is_tolerated_is_tolerated() -> None:
    guard = LatencyGuard(tolerance_pct=10.0, tolerance_ms=0.0)
    assert all(rollout(changed(lambda x: x * 1.07), guard, seed=seed)[0].peak < CAP for seed in range(8))
    in_ms = LatencyGuard(tolerance_pct=0.0, tolerance_ms=20.0, margin_ms=50.0)
    assert all(rollout(changed(lambda x: x + 18e3), in_ms, seed=seed)[0].peak < CAP for seed in range(8))
    assert rollout(changed(lambda x: x + 40e3), in_ms, seed=1)[0].peak >= CAP


def test_an_equal_version_passes_and_one_at_the_margin_does_not() -> None:
    guard = LatencyGuard(tolerance_ms=0.0, margin_pct=40.0, margin_ms=0.0)
    assert all(rollout(CHAMPION, guard, seed=seed)[0].promotion >= CAP for seed in range(4))
    assert all(rollout(changed(lambda x: x * 1.4), guard, seed=seed)[0].promotion < CAP for seed in range(6))


def test_a_restart_in_the_middle_changes_nothing_and_arms_without_answers_neither() -> None:
    known, _ = rollout(CHAMPION, STRICT, seed=3, seconds=20)
    slowdowns.build.cache_clear()
    latency_margin.cuts.cache_clear()
    again, _ = rollout(CHAMPION, STRICT, seed=3, seconds=20)
    assert known == again
    silent = latency.after(known, STRICT, Window(1, Arm(5, 5), Arm(5, 5)), log_cap=CAP)
    assert silent == known


def test_nothing_is_bet_before_the_champion_is_known() -> None:
    window = Window(1, Arm(40, 0, ((200, 40),)), Arm(40, 0, ((300, 40),)))
    known = latency.opened(STRICT)
    for _ in range(2):
        known = latency.after(known, STRICT, window, log_cap=CAP)
        assert known.peak == 0.0
    assert latency.after(latency.after(known, STRICT, window, log_cap=CAP), STRICT, window, log_cap=CAP).peak > 0.0


def test_every_tilt_rises_and_is_flat_below_the_floor() -> None:
    reference = sparse(np.random.default_rng(4).multinomial(3000, CHAMPION))
    found = slowdowns.build(reference, sparse(np.random.default_rng(5).multinomial(500, CHAMPION)), 50.0, 0.0, 0.0)
    assert (np.diff(found.tilts, axis=1) >= -1e-12).all()
    assert found.champion[0] == 0
    assert CHAMPION[: found.champion[1]].sum() >= 0.5, "the first group is all that lies below the floor"


def test_numbers_stay_finite_for_any_counts() -> None:
    known = latency.opened(STRICT, ((100, 10**12), (720, 1)))
    for index in (0, 100, 720):
        window = Window(1, Arm(1, 0, ((100, 10**12),)), Arm(1, 0, ((index, 10**12),)))
        known = latency.after(known, STRICT, window, log_cap=CAP)
    assert all(math.isfinite(value) for value in known.row)
    assert all(math.isfinite(value) for row in known.margins for value in row)


def test_every_answer_is_in_one_group_whatever_is_tolerated() -> None:
    rng = np.random.default_rng(5)
    counts = rng.multinomial(5000, CHAMPION)
    for tolerance_pct, tolerance_ms in ((0.0, 0.0), (3.0, 0.0), (10.0, 2.0), (40.0, 0.0)):
        groups = slowdowns.build(sparse(counts), (), 50.0, tolerance_pct, tolerance_ms)
        for challenger in (False, True):
            grouped = groups.grouped(counts.astype(float), challenger=challenger)
            assert grouped.sum() == 5000.0
            assert grouped.min() >= 0.0
