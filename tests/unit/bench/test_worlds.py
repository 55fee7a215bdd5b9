"""The simulated traffic is what it says, and the batch reads it as the product does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.judge import combined, levels, worlds
from bench.judge.worlds import World

SHORT = tuple((share, 120.0) for share, _ in worlds.UP_AND_DOWN)


def summed(world: World, rollouts: int = 200, seed: int = 3) -> dict[int, np.ndarray]:
    """Counts n1, x1, n0, x0 of all that was judged, per epoch."""
    found: dict[int, np.ndarray] = {}
    for _, window in worlds.windows(world, np.random.default_rng(seed), rollouts):
        counts = np.array([each.sum() for each in window[2:]])
        found[window.epoch] = found.get(window.epoch, 0.0) + counts
    return found


def test_shares_rates_and_traffic_are_those_of_the_world() -> None:
    world = World("w", "w", (0.02, 0.06), SHORT)
    found = summed(world)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    for (share, seconds), (n1, x1, n0, x0) in zip(world.shares, found.values(), strict=True):
        assert n1 + n0 == pytest.approx(200 * 200.0 * seconds, rel=0.01)
        assert n1 / (n1 + n0) == pytest.approx(share, rel=0.02)
        assert x1 / n1 == pytest.approx(0.06, rel=0.05)
        assert x0 / n0 == pytest.approx(0.02, rel=0.05)


def test_late_timeouts_count_where_they_came_from_and_none_is_lost_but_the_last() -> None:
    early, late = (summed(World("w", "w", (0.05, 0.05), SHORT, late=late)) for late in (0.0, 1.0))
    for epoch in range(1, 6):
        # the challenger's: the champion's last ones wait for one of the challenger's at a share of 1 %, and tell nothing without
        assert late[epoch][1] == pytest.approx(early[epoch][1], rel=0.1)
    ended = World("w", "w", (0.05, 0.05), SHORT, late=1.0, by_arrival=False)
    n1, x1, _, _ = summed(ended)[6]
    assert x1 / n1 > 0.055  # some of the failures of 20 % are held against the 5 % that follow


def test_incidents_raise_the_errors_of_both_arms_and_keep_their_ratio() -> None:
    world = World("w", "w", (0.03, 0.06), ((0.5, 3600.0),), bursts=True)
    n1, x1, n0, x0 = summed(world)[1]
    assert x0 / n0 > 1.3 * 0.03
    assert (x1 / n1) / (x0 / n0) == pytest.approx(2.0, rel=0.02)


def test_retries_are_counted_once_unless_the_world_says_otherwise() -> None:
    once, tries = (
        summed(World("w", "w", (0.1, 0.1), ((0.5, 300.0),), retried=0.5, attempts=attempts))[1] for attempts in (False, True)
    )
    assert once[1] / once[0] == pytest.approx(0.05, rel=0.03)
    assert tries[0] == pytest.approx(1.1 * once[0], rel=0.01)
    assert tries[1] / tries[0] == pytest.approx(0.15 / 1.1, rel=0.03)


def test_missed_and_repeated_readings_lose_nothing() -> None:
    whole, some = (summed(World("w", "w", (0.02, 0.02), SHORT, missed=missed, repeated=missed)) for missed in (0.0, 0.3))
    for epoch in range(1, 6):
        assert some[epoch][[0, 2]].sum() == pytest.approx(whole[epoch][[0, 2]].sum(), rel=0.01)


def test_counters_that_fell_and_restarts_only_lose() -> None:
    world = World("w", "w", (0.02, 0.02), SHORT)
    whole, less = summed(world), summed(replace(world, falls=0.05, restarts_s=(60.0, 300.0)))
    for epoch in whole:
        assert less[epoch].sum() < 0.99 * whole[epoch].sum()
        assert less[epoch][1] / less[epoch][0] == pytest.approx(0.02, rel=0.1)


def test_gateways_are_strata_of_their_own() -> None:
    world = World(
        "w", "w", (0.01, 0.01), ((0.2, 300.0),), strata=(worlds.Stratum(0.5, 0.5, 0.2), worlds.Stratum(0.5, 1.5, 3.0))
    )
    found: dict[str, np.ndarray] = {}
    for _, window in worlds.windows(world, np.random.default_rng(3), 200):
        found[window.gateway] = found.get(window.gateway, 0.0) + np.array([each.sum() for each in window[2:]])
    for (n1, x1, n0, _), share, rate in zip(found.values(), (0.1, 0.3), (0.002, 0.03), strict=True):
        assert n1 / (n1 + n0) == pytest.approx(share, rel=0.02)
        assert x1 / n1 == pytest.approx(rate, rel=0.1)


def test_windows_wait_until_they_hold_enough() -> None:
    few = [window.n1 + window.n0 for _, window in worlds.windows(worlds.named("little"), np.random.default_rng(1), 20)]
    sizes = np.concatenate(few)
    assert sizes[sizes > 0].min() >= 50


@pytest.mark.parametrize("name", combined.FRONT_DOOR)
def test_the_front_door_comes_to_the_evidence_of_the_batch(name: str) -> None:
    world = worlds.named(name)
    shares = tuple((share, 240.0 / len(world.shares)) for share, _ in world.shares)
    world = replace(world, shares=shares, restarts_s=tuple(at / 15.0 for at in world.restarts_s))
    _, apart = combined.front_door(world, 4, seed=5)
    assert apart < combined.SAME


def test_the_judge_of_the_worlds_finds_a_bad_version_and_says_when() -> None:
    world = World("w", "w", (0.01, 0.05), ((0.05, 300.0),))
    judge = levels.Judge(100, 0.01)
    for now_s, window in worlds.windows(world, np.random.default_rng(2), 100):
        judge.see(now_s, window)
    assert np.isfinite(judge.decided_s).all()
    assert 10.0 < judge.decided_s.mean() < 30.0


def test_the_bound_is_that_of_the_method() -> None:
    assert worlds.bound_requests(0.001, 0.005, 0.05, 0.01) * 0.05 == pytest.approx(1251, rel=0.01)
    assert worlds.bound_requests(0.01, 0.02, 0.2, 0.01) / 200.0 == pytest.approx(39, rel=0.02)
