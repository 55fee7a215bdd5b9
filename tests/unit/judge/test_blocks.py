"""Block mode: incidents of single replicas are one fact each, and a bad version is still found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judge import blocks, decide, error_rate, evidence, latency
from judge.policy import ErrorRateGuard, LatencyGuard, Mode, Policy
from judge.samples import Counts, Sample
from judge.verdict import Label

ALPHA = 0.05
CAP = -np.log(ALPHA)
STRICT = ErrorRateGuard(1.0, 0.0, 2.0, 1.0)


def test_replica_incidents_fool_exact_bets_and_not_blocks() -> None:
    """One hour at 200 requests/s, share 20 %, 1 + 4 replicas; each has an incident of 20 s with 5 % more errors every 10 minutes or so."""
    rollouts, rng = 200, np.random.default_rng(41)
    exact, blocked = error_rate.fresh(rollouts), blocks.fresh(rollouts)
    sick = np.zeros((5, rollouts))
    sums = np.zeros((4, rollouts))
    for window in range(720):
        sick = np.maximum(sick - 1, 0)
        sick[rng.random(sick.shape) < 5.0 / 600.0] = 4  # windows of 5 s
        rate1, rate0 = 0.01 + 0.05 * (sick[0] > 0), 0.01 + 0.05 * (sick[1:] > 0).mean(axis=0)
        n1, n0 = rng.poisson(200, rollouts), rng.poisson(800, rollouts)
        counts = [each.astype(float) for each in (n1, rng.binomial(n1, rate1), n0, rng.binomial(n0, rate0))]
        error_rate.update(exact, STRICT, *counts, log_cap=CAP)
        sums += counts
        if window % 6 == 5:
            blocks.update(blocked, 1.0, *sums)
            sums[:] = 0.0
    assert (exact.peak >= CAP).mean() > 0.5, "that is why there is a block mode"
    assert (blocked.peak >= CAP).mean() <= ALPHA + 2.0 * (ALPHA * (1 - ALPHA) / rollouts) ** 0.5


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_no_block_pays_for_a_tolerated_version(ratio: float) -> None:
    """Whatever the part of the bad requests is, if its mean is the tolerated one the wealth stays what it was on average."""
    rollouts, rng = 20_000, np.random.default_rng(42)
    known = blocks.fresh(rollouts)
    before = np.exp(known.log_atoms[:-1])
    n1, n0 = np.full(rollouts, 100.0), np.full(rollouts, 900.0)
    mean = 100.0 * ratio / (100.0 * ratio + 900.0)
    whole_burst = rng.random(rollouts) < mean  # all bad requests on one side
    blocks.update(known, ratio, n1, np.where(whole_burst, 50.0, 0.0), n0, np.where(whole_burst, 0.0, 50.0))
    grown = np.exp(known.log_atoms[:-1]) / before
    assert grown.mean(axis=1) == pytest.approx(np.ones(len(blocks.PARTS)), abs=0.12)


def at(index: int, count: int) -> Counts:
    return ((index, count),)


def judged(policy: Policy, errors: int, slow: bool, seconds: int = 600) -> tuple[float, Label]:
    """100 requests/s, share 20 %, read every second: when it failed (or the end), and the last label."""
    state = evidence.fresh(1)
    label = Label.INSUFFICIENT
    for second in range(1, seconds + 1):
        n0, n1 = 80 * second, 20 * second
        samples = (
            Sample("g", 1, 2, n0, 0, latency=((200, 76 * second), (230, 4 * second))),
            Sample("g", 1, 3, n1, errors * second, latency=at(280 if slow else 200, (20 - errors) * second)),
        )
        state, verdict = decide.decide(policy, state, samples, champion=2, challenger=3, now_s=float(second))
        label = verdict.label
        if label is Label.FAIL:
            return second, label
    return seconds, label


def test_a_bad_version_is_found_in_blocks_too_a_little_later() -> None:
    exact = Policy(latency=None)
    in_blocks = replace(exact, error_rate=ErrorRateGuard(mode=Mode.BLOCK, block_s=10.0))
    (soon, _), (later, label) = judged(exact, 10, slow=False), judged(in_blocks, 10, slow=False)
    assert label is Label.FAIL
    assert soon < later <= 120
    assert judged(in_blocks, 0, slow=False, seconds=200)[1] is not Label.FAIL


def test_a_slow_version_is_found_in_blocks_too() -> None:
    policy = Policy(latency=LatencyGuard(mode=Mode.BLOCK, block_s=10.0))
    when, label = judged(policy, 0, slow=True)
    assert label is Label.FAIL
    assert when >= 20
    assert judged(policy, 0, slow=False, seconds=200)[1] is not Label.FAIL


def test_the_finding_says_how_it_was_judged() -> None:
    policy = Policy(error_rate=ErrorRateGuard(mode=Mode.BLOCK))
    _, verdict = decide.decide(policy, evidence.fresh(1), (), champion=2, challenger=3)
    assert [(finding.guard, finding.mode) for finding in verdict.findings] == [("error_rate", "block"), ("latency", "exact")]
    assert latency.opened(LatencyGuard()).peak == 0.0
