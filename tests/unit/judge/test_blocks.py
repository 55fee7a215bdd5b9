"""Block mode: incidents of single replicas are one fact each, and a bad version is still found."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge import alone, blocking, blocks, decide, error_rate, evidence, forecast, latency
from judge.policy import ErrorRateGuard, LatencyGuard, Mode, Policy
from judge.samples import Arm, Counts, Sample
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


GUARD = ErrorRateGuard()
(MARGIN,) = blocking.margins(GUARD)
REPLICAS, LOOK_S, INCIDENT_S, EVERY_S = 5, 5.0, 20.0, 300.0


def promoted(p0: float, more: float, kind: str, rollouts: int = 300) -> tuple[float, float, float]:
    """Part of the rollouts that exact bets and blocks of 30 s promote within an hour, and when the latter do on average. 200 requests/s, one of five
    replicas is the challenger's. Incidents make `more` of a replica's requests fail. kind: equal, or exactly too bad in one of three ways."""
    rng, often, steady, size = np.random.default_rng(43), 1.0, p0, more
    mean = p0 + more * INCIDENT_S / EVERY_S
    too_bad = max(mean * GUARD.margin_ratio, mean + GUARD.margin_pct / 100.0)
    if kind == "always a little more":
        steady += too_bad - mean
    elif kind == "more incidents":
        often = (too_bad - p0) / (mean - p0)
    elif kind == "larger incidents":
        size = more * (too_bad - p0) / (mean - p0)
    of = np.ones((REPLICAS, 1))
    often_, steady_, size_ = of.copy(), p0 * of, more * of
    often_[0], steady_[0], size_[0] = often, steady, size
    exact, rows, left = error_rate.fresh(rollouts), [blocks.WITHIN] * rollouts, np.zeros((REPLICAS, rollouts))
    passed, minutes = np.zeros(rollouts, dtype=bool), np.full(rollouts, np.nan)
    sums = np.zeros((4, rollouts))
    for look in range(720):
        left = np.maximum(left - 1.0, 0.0)
        left[(rng.random(left.shape) < often_ * LOOK_S / EVERY_S) & (left == 0.0)] = INCIDENT_S / LOOK_S
        n = rng.poisson(1000 / REPLICAS, left.shape)
        x = rng.binomial(n, np.minimum(steady_ + size_ * (left > 0), 1.0))
        counts = [each.astype(float) for each in (n[0], x[0], n[1:].sum(axis=0), x[1:].sum(axis=0))]
        error_rate.update(exact, GUARD, *counts, log_cap=CAP)
        passed |= exact.promotion >= CAP
        sums += counts
        if look % 6 == 5:
            rows = [blocks.within(row, MARGIN, *map(float, table)) for row, table in zip(rows, sums.T, strict=True)]
            late = np.isnan(minutes) & (np.array([row[0] for row in rows]) >= CAP)
            minutes[late] = (look + 1) * LOOK_S / 60.0
            sums[:] = 0.0
    return (
        float(passed.mean()),
        float(np.isfinite(minutes).mean()),
        float(np.nanmean(minutes)) if np.isfinite(minutes).any() else np.nan,
    )


@pytest.mark.parametrize("kind", ["always a little more", "more incidents", "larger incidents"])
def test_incidents_promote_a_bad_version_by_exact_bets_and_not_in_blocks(kind: str) -> None:
    exact, in_blocks, _ = promoted(0.01, 0.05, kind)
    assert exact > 0.15, "that is why a promotion waits for blocks too"
    assert in_blocks <= ALPHA + 2.0 * (ALPHA * (1 - ALPHA) / 300) ** 0.5


@pytest.mark.parametrize(("p0", "more"), [(0.01, 0.05), (0.001, 0.05), (0.0, 0.0)])
def test_an_equal_version_is_promoted_in_blocks_within_the_hour(p0: float, more: float) -> None:
    _, in_blocks, minutes = promoted(p0, more, "equal", rollouts=60)
    assert in_blocks >= 0.95
    needed = forecast.blocks_to_pass(Policy(alpha=0.01), (), MARGIN, p0, p0)
    assert needed is not None
    assert minutes == pytest.approx(needed / 2.0, rel=0.3)


def stormy(rng: np.random.Generator, seconds: int, p0: float, more: float) -> list[Arm]:
    """All traffic on five replicas with incidents, every two seconds."""
    left, found = np.zeros(REPLICAS), []
    for _ in range(seconds // 2):
        left = np.maximum(left - 2.0, 0.0)
        left[(rng.random(REPLICAS) < 2.0 / EVERY_S) & (left == 0.0)] = INCIDENT_S
        n = rng.poisson(400 / REPLICAS, REPLICAS)
        found.append(Arm(int(n.sum()), int(rng.binomial(n, np.minimum(p0 + more * (left > 0), 1.0)).sum())))
    return found


def rolled_back_alone(policy: Policy, p0: float, more: float, then: float = 0.0, rollouts: int = 60) -> tuple[float, float]:
    """Part of the versions that are rolled back in ten minutes of probation, after an hour of the champion with the same incidents, and
    after how many seconds; then: so many more of its requests fail."""
    rng, fired = np.random.default_rng(44), []
    for _ in range(rollouts):
        past = sum(stormy(rng, 3600, p0, more), start=Arm())
        known = alone.Alone()
        for look, arm in enumerate(stormy(rng, 600, min(p0 + then, 1.0), more), start=1):
            known = alone.after(known, policy, past, arm, 2.0 * look)
            if known.peak >= alone.needed(policy)[0]:
                fired.append(2.0 * look)
                break
    return len(fired) / rollouts, float(np.mean(fired)) if fired else math.inf


@pytest.mark.parametrize(("p0", "more"), [(0.01, 0.05), (0.001, 0.05), (0.001, 0.3)])
def test_incidents_on_probation_fool_exact_bets_and_not_blocks(p0: float, more: float) -> None:
    exact = Policy(alpha=ALPHA, error_rate=ErrorRateGuard(mode=Mode.EXACT))
    assert rolled_back_alone(exact, p0, more, rollouts=30)[0] > 0.3, "that is why there are blocks on probation too"
    in_blocks = replace(exact, error_rate=ErrorRateGuard(mode=Mode.BLOCK))
    assert rolled_back_alone(in_blocks, p0, more)[0] <= ALPHA


def test_a_version_that_dies_on_probation_is_found_in_blocks_too() -> None:
    policy = Policy(alpha=0.002, error_rate=ErrorRateGuard(mode=Mode.BLOCK))
    part, seconds = rolled_back_alone(policy, 0.01, 0.05, then=1.0, rollouts=10)
    assert part == 1.0
    assert seconds <= 120.0
    assert rolled_back_alone(policy, 0.01, 0.05, then=0.3, rollouts=10)[0] >= 0.9


rates = st.floats(0.0, 1.0)


@given(rates, rates, rates, rates, st.floats(0.0, 1.0), st.floats(1.0, 10.0), st.floats(0.0, 0.3))
def test_no_block_pays_for_a_version_beyond_the_margin(
    one0: float, one1: float, other0: float, other1: float, chance: float, ratio: float, points: float
) -> None:
    """Blocks are of two kinds, whatever they are; if in the mean the challenger is too bad, no stake gains in the mean."""
    margin = blocks.Margin(ratio, points, max(0.2, 2.0 * points))
    kinds = [(min(p1, margin.most), min(p0, margin.most)) for p1, p0 in ((one1, one0), (other1, other0))]
    weights = (chance, 1.0 - chance)
    mean1, mean0 = (sum(w * kind[arm] for w, kind in zip(weights, kinds, strict=True)) for arm in (0, 1))
    gains = np.exp([blocks.log_gains(margin, *kind) for kind in kinds])
    mean = chance * gains[0] + (1.0 - chance) * gains[1]
    stakes = len(blocks.WITHIN_PARTS)
    if mean1 >= ratio * mean0:
        assert mean[:stakes].max() <= 1.0 + 1e-9
    if mean1 >= mean0 + points:
        assert mean[stakes:].max() <= 1.0 + 1e-9


def test_a_block_worse_than_any_incident_ruins_the_promotion() -> None:
    row = blocks.WITHIN
    for _ in range(60):
        row = blocks.within(row, MARGIN, 500.0, 5.0, 500.0, 5.0)
    ruined = blocks.within(row, MARGIN, 500.0, 450.0, 500.0, 5.0)
    assert row[0] > 1.0 > ruined[0]
    assert blocks.within(row, MARGIN, 20.0, 0.0, 500.0, 0.0) == row, "too few requests to bet on"


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


def test_a_healthy_version_waits_for_its_blocks_and_is_told_how_long() -> None:
    policy = Policy(
        latency=LatencyGuard(mode=Mode.BLOCK, block_s=10.0), error_rate=ErrorRateGuard(mode=Mode.BLOCK, block_s=10.0)
    )
    state, told = evidence.fresh(1), []
    for second in range(2, 3600, 2):
        samples = (
            Sample("g", 1, 2, 80 * second, 0, latency=((200, 40 * second), (230, 36 * second), (300, 4 * second))),
            Sample("g", 1, 3, 20 * second, 0, latency=((200, 10 * second), (230, 9 * second), (300, second))),
        )
        state, verdict = decide.decide(policy, state, samples, champion=2, challenger=3, now_s=float(second))
        told.append(verdict)
        if verdict.label is Label.PASS:
            break
    assert verdict.label is Label.PASS
    assert 14 * 60 <= second <= 20 * 60
    assert told[0].findings[0].sentence == (
        "Not enough seen yet: the errors come in bursts and are judged in blocks of 10 s, and about 87 more are needed, 14 min."
    )
    assert told[0].findings[1].sentence == (
        "Version 3 is not shown yet to be within the margin: the latencies come in bursts and are judged in blocks of 10 s."
    )


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
