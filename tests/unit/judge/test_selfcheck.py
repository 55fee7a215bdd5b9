"""The champion judged against itself: bursts on single replicas are found, and calm ones are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from judge import bins, selfcheck
from judge.policy import ErrorRateGuard, LatencyGuard, Mode, Policy
from judge.samples import Counts, Sample
from judge.selfcheck import Reading

POLICY = Policy(error_rate=ErrorRateGuard(1.0, 0.0, 2.0, 1.0))


def past(replicas: int, *, bursts: bool, seed: int = 1, rate: float = 0.01, per_reading: int = 300) -> list[Reading]:
    """An hour, read every ten seconds. bursts: incidents of 20 s on one replica, in which a quarter of its requests fails."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((replicas, 2), dtype=int)
    readings: list[Reading] = []
    sick, until = 0, 0
    for number in range(360):
        if bursts and number >= until and rng.random() < 0.05:
            sick, until = int(rng.integers(replicas)), number + 2
        for replica in range(replicas):
            n = int(rng.poisson(per_reading / replicas))
            bad = rate + (0.25 if bursts and number < until and replica == sick else 0.0)
            counts[replica] += [n, rng.binomial(n, bad)]
        samples = tuple(Sample("g", 1, 2, int(n), int(x), replica=f"r{i}") for i, (n, x) in enumerate(counts))
        readings.append(Reading(10.0 * number, samples))
    return readings


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_calm_replicas_stand_against_themselves(replicas: int) -> None:
    found = selfcheck.check(POLICY, past(replicas, bursts=False), seed=3)
    assert (found.errors_mode, found.replicas) == (Mode.EXACT, replicas)
    assert found.fired_part <= selfcheck.RARELY
    assert "the champion stands" in found.sentence


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_bursts_on_single_replicas_are_found(replicas: int) -> None:
    found = selfcheck.check(POLICY, past(replicas, bursts=True), seed=3)
    assert found.errors_mode is Mode.BLOCK
    assert "come in bursts" in found.sentence
    assert found == selfcheck.check(POLICY, past(replicas, bursts=True), seed=3), "the same past gives the same finding"


def test_incidents_that_hit_all_replicas_are_nobodys_fault() -> None:
    readings = past(4, bursts=False)
    together = [
        Reading(
            r.at_s,
            tuple(Sample("g", 1, 2, s.requests, min(s.requests, s.errors + 40 * (i // 60)), s.replica) for s in r.samples),
        )
        for i, r in enumerate(readings)
    ]
    assert selfcheck.check(POLICY, together, seed=3).errors_mode is Mode.EXACT


@pytest.mark.parametrize(
    "readings", [[], past(2, bursts=False)[:1], past(2, bursts=True, per_reading=4), past(2, bursts=False, rate=0.0)]
)
def test_too_little_to_tell_says_so(readings: list[Reading]) -> None:
    found = selfcheck.check(POLICY, readings, seed=3)
    assert found.errors_mode is Mode.EXACT
    assert found.sentence.startswith("Not enough to check the judge against")


def test_counters_that_fell_are_no_errors() -> None:
    readings = past(2, bursts=False)
    again = past(2, bursts=False, seed=5)
    assert selfcheck.check(POLICY, [*readings, *again], seed=3).errors_mode is Mode.EXACT


def at(latency_ms: float, count: int) -> Counts:
    return ((int(bins.index_of(latency_ms * 1000.0)), count),)


def test_replicas_that_differ_in_speed_widen_the_tolerance_but_never_to_the_margin() -> None:
    def timed(slow_ms: float) -> selfcheck.SelfCheck:
        samples = (Sample("g", 1, 2, 9000, 0, "r0", at(10.0, 9000)), Sample("g", 1, 2, 9000, 0, "r1", at(slow_ms, 9000)))
        return selfcheck.check(POLICY, [Reading(0.0, samples)], seed=3)

    assert timed(10.0).latency_tolerance_pct == pytest.approx(0.0)
    assert timed(12.0).latency_tolerance_pct == pytest.approx(20.0, rel=0.1)
    assert "differ by" in timed(12.0).sentence
    widened = selfcheck.applied(Policy(), timed(12.0)).latency
    assert widened is not None
    assert widened.tolerance_pct == pytest.approx(20.0, rel=0.1)
    most = selfcheck.applied(Policy(), timed(40.0)).latency
    assert most is not None
    assert most.tolerance_pct < most.margin_pct


def test_what_the_policy_says_itself_stays() -> None:
    bursty = selfcheck.check(POLICY, past(4, bursts=True), seed=3)
    assert selfcheck.applied(POLICY, bursty).error_rate.mode is Mode.BLOCK
    own = Policy(error_rate=ErrorRateGuard(mode=Mode.EXACT), latency=LatencyGuard(mode=Mode.BLOCK))
    assert selfcheck.applied(own, bursty) == own
    assert selfcheck.applied(POLICY, None).error_rate.mode is Mode.EXACT
