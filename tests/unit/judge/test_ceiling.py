"""The challenger alone, against the champion's past."""

from __future__ import annotations

import math

import numpy as np
import pytest

from judge import alone, evidence
from judge.ceiling import decide_alone, observe_baseline
from judge.decide import decide
from judge.policy import Policy
from judge.samples import Arm, Sample
from judge.verdict import Label, Verdict

POLICY = Policy(latency=None)


def ask(state: evidence.State, *samples: Sample, policy: Policy = POLICY) -> tuple[evidence.State, Verdict]:
    return decide_alone(policy, state, samples, champion=2, challenger=3)


@pytest.fixture
def known() -> evidence.State:
    """After 10 000 champion requests with 50 errors in epoch 1."""
    return observe_baseline(evidence.fresh(0), (Sample("g", 1, 2, 10_000, 50),), champion=2)


def test_a_challenger_far_worse_than_the_past_is_failed(known: evidence.State) -> None:
    _, verdict = ask(known, Sample("g", 2, 3, 400, 40))
    assert verdict.label is Label.FAIL
    assert verdict.reason == (
        "Version 3 fails 10.0 % (40 of 400); version 2 failed 0.5 % (50 of 10 000) before, so at most 0.81 % is tolerated. "
        "This compares with the champion's past, not with traffic beside it."
    )
    finding = verdict.findings[0]
    assert finding.threshold == pytest.approx(math.log10(2 / POLICY.alpha))
    assert finding.p_value < 0.001
    assert finding.effect.low is not None
    assert finding.effect.low > 5
    _, verdict = decide_alone(POLICY, _, None, champion=2, challenger=3, blind_reason="away")
    assert verdict.label is Label.FAIL


def test_a_challenger_like_the_past_passes_and_says_what_it_was_compared_with(known: evidence.State) -> None:
    state, verdict = ask(known, Sample("g", 2, 3, 100, 0))
    assert verdict.label is Label.INSUFFICIENT
    assert verdict.reason.startswith("Not enough requests yet, about ")
    assert verdict.reason.endswith("not with traffic beside it.")
    _, verdict = ask(state, Sample("g", 2, 3, 4000, 20))
    assert verdict.label is Label.PASS
    assert "the margin is 2 times that or +1 points" in verdict.reason


def test_between_ceiling_and_margin_there_is_no_forecast(known: evidence.State) -> None:
    _, verdict = ask(known, Sample("g", 2, 3, 300, 5))
    assert verdict.label is Label.INSUFFICIENT
    assert verdict.findings[0].more_requests is None


def test_without_a_past_little_is_held_against_it() -> None:
    _, verdict = ask(evidence.fresh(0), Sample("g", 2, 3, 500, 500))
    assert verdict.label is Label.INSUFFICIENT
    assert "no request to version 2 was seen to compare with" in verdict.reason
    few = observe_baseline(evidence.fresh(0), (Sample("g", 1, 2, 20, 0),), champion=2)
    _, verdict = ask(few, Sample("g", 2, 3, 50, 5))
    assert verdict.label is Label.INSUFFICIENT  # 20 good answers do not exclude one error in five
    _, verdict = ask(few, Sample("g", 2, 3, 50, 50))
    assert verdict.label is Label.FAIL


def test_nothing_yet_and_blind(known: evidence.State) -> None:
    state, verdict = ask(known)
    assert verdict.label is Label.INSUFFICIENT
    assert verdict.reason == "No requests to version 3 since it was given all traffic."
    after, verdict = decide_alone(POLICY, state, None, champion=2, challenger=3, blind_reason="no gateway is connected")
    assert verdict.label is Label.BLIND
    assert after == state


def test_requests_with_the_champion_beside_them_are_not_judged_alone(known: evidence.State) -> None:
    beside = (Sample("g", 2, 2, 900, 5), Sample("g", 2, 3, 100, 60))
    state, verdict = ask(known, *beside)
    assert state.alone.arm == Arm(0, 0)
    assert state.challenger.requests == 100  # but beside it, where they belong
    state, verdict = ask(state, *beside[:1], Sample("g", 2, 3, 130, 90), Sample("g", 3, 3, 70, 0))
    assert state.alone.arm == Arm(70, 0)
    assert verdict.findings[0].challenger_requests == 70


def test_what_waited_at_the_last_step_is_judged_alone_afterwards(known: evidence.State) -> None:
    alone_now = Sample("g", 5, 3, 300, 2)
    state, _ = decide(POLICY, known, (alone_now,), champion=2, challenger=3)
    assert state.pending
    state, _ = ask(state, alone_now)
    assert state.alone.arm == Arm(300, 2)
    assert not state.pending


def test_the_ceiling_is_frozen_when_it_is_first_used(known: evidence.State) -> None:
    state, _ = ask(known, Sample("g", 2, 3, 100, 0))
    ceiling = state.alone.ceiling
    state, _ = ask(state, Sample("g", 1, 2, 50_000, 25_000), Sample("g", 2, 3, 200, 0))
    assert state.baseline.errors == 25_000
    assert state.alone.ceiling == ceiling


@pytest.mark.parametrize(
    ("baseline", "ceiling"), [(Arm(0, 0), 1.0), (Arm(5, 5), 1.0), (Arm(10**12, 10**10), 0.011), (Arm(10**12, 0), 0.001)]
)
def test_limits_at_the_ends(baseline: Arm, ceiling: float) -> None:
    found, margin = alone.limits(POLICY, baseline)
    assert found == pytest.approx(ceiling, rel=0.01)
    assert 0.0 < margin <= 1.0


def test_where_the_bounds_cannot_be_computed_nothing_is_claimed() -> None:
    assert alone.limits(Policy(alpha=1e-300, beta=1e-300), Arm(5, 2)) == (1.0, 0.01)


@pytest.mark.parametrize(("p0", "p1"), [(0.01, 0.011), (0.002, 0.003), (0.2, 0.22)])
def test_a_tolerated_version_is_failed_at_most_at_alpha_and_a_bad_one_passed_at_most_at_beta(p0: float, p1: float) -> None:
    policy, rollouts, rng = Policy(alpha=0.05), 400, np.random.default_rng(31)
    failed = passed = 0
    for _ in range(rollouts):
        baseline = Arm(3000, int(rng.binomial(3000, p0)))
        fine, bad = alone.Alone(), alone.Alone()
        too_bad = max(policy.error_rate.margin_ratio * p0, p0 + policy.error_rate.margin_pct / 100)
        wrong = False
        for _ in range(15):
            fine = alone.after(fine, policy, baseline, Arm(1000, int(rng.binomial(1000, p1))), 0.0)
            bad = alone.after(bad, policy, baseline, Arm(1000, int(rng.binomial(1000, too_bad))), 0.0)
            wrong = wrong or bad.within >= alone.needed(policy)[1]
        failed += fine.peak >= alone.needed(policy)[0]
        passed += wrong
    assert failed / rollouts <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / rollouts)
    assert passed / rollouts <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / rollouts)
