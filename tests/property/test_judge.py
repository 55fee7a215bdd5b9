"""What must hold of the judge for any counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from judge import alone, bet, counts, error_rate, evidence, guards, interval
from judge.ceiling import decide_alone
from judge.decide import decide
from judge.maths import FLOATS
from judge.policy import ErrorRateGuard, Policy
from judge.samples import Arm, Sample, Window
from judge.verdict import Label, Verdict

POLICY = Policy()
_NOTHING: tuple[Sample, ...] = ()
STATES = TypeAdapter(evidence.State)


def arms(largest: int) -> st.SearchStrategy[Arm]:
    return st.integers(0, largest).flatmap(lambda n: st.builds(Arm, st.just(n), st.integers(0, n)))


def windows(largest: int = 5000, most: int = 8) -> st.SearchStrategy[list[Window]]:
    """One window per epoch."""
    pairs = st.lists(st.tuples(arms(largest), arms(largest)), min_size=1, max_size=most)
    return pairs.map(lambda found: [Window(epoch, *pair) for epoch, pair in enumerate(found, start=1)])


def judged(found: list[Window], policy: Policy = POLICY) -> tuple[evidence.State, Verdict]:
    """Each window read on its own."""
    state = evidence.fresh(0)
    for window in found:
        state, verdict = decide(policy, state, _reading(window), champion=1, challenger=2)
    return state, verdict


def _reading(window: Window) -> tuple[Sample, ...]:
    champion, challenger = window.champion, window.challenger
    return (
        Sample("g", window.epoch, 1, champion.requests, champion.errors),
        Sample("g", window.epoch, 2, challenger.requests, challenger.errors),
    )


guards_ = st.builds(
    lambda ratio, more, points, wider: ErrorRateGuard(ratio, points, ratio * more, min(points * wider, 99.0)),
    st.floats(1.0, 20.0),
    st.floats(1.01, 30.0),
    st.floats(1e-6, 40.0),
    st.floats(1.1, 50.0),
)
shares = st.floats(1e-6, 1.0 - 1e-6)
rates = st.floats(0.0, 1.0)


Factors = Callable[[bet.Window[float]], list[float]]


def mean_factor(of: Factors, share: float, p0: float, p1: float) -> np.ndarray:
    """What a request multiplies the wealth by on average: w A + (1 - w) B."""
    outcomes = {
        (arm, bad): bet.Window(arm, arm * bad, 1.0 - arm, (1.0 - arm) * bad, share) for arm in (0.0, 1.0) for bad in (0.0, 1.0)
    }
    factor = {outcome: np.exp(of(window)) for outcome, window in outcomes.items()}
    challenger = (1.0 - p1) * factor[1.0, 0.0] + p1 * factor[1.0, 1.0]
    champion = (1.0 - p0) * factor[0.0, 0.0] + p0 * factor[0.0, 1.0]
    mean: np.ndarray = share * challenger + (1.0 - share) * champion
    return mean


WORSE, BETTER = error_rate.BETS.worse, (0.9, 0.5, 0.1)


@given(guards_, shares, rates, st.floats(0.0, 1.0), st.floats(1e-4, 0.9))
def test_no_bet_pays_for_a_tolerated_version(guard: ErrorRateGuard, share: float, p0: float, part: float, rate: float) -> None:
    ratio, points = part * min(guard.tolerance_ratio * p0, 1.0), part * min(p0 + guard.tolerance_pct / 100.0, 1.0)
    tolerated, excess = guard.tolerance_ratio, guard.tolerance_pct / 100.0
    assert mean_factor(lambda of: bet.on_ratio(FLOATS, WORSE, tolerated, of), share, p0, ratio).max() <= 1.0 + 1e-9
    assert mean_factor(lambda of: bet.on_known_ratio(FLOATS, WORSE, tolerated, of, rate), share, p0, ratio).max() <= 1.0 + 1e-6
    assert mean_factor(lambda of: bet.on_excess(FLOATS, WORSE, excess, of), share, p0, points).max() <= 1.0 + 1e-9


@given(guards_, shares, rates, st.floats(0.0, 1.0), st.floats(1e-4, 0.9))
def test_no_promotion_bet_pays_for_a_version_beyond_the_margin(
    guard: ErrorRateGuard, share: float, p0: float, part: float, rate: float
) -> None:
    margin, excess = guard.margin_ratio, guard.margin_pct / 100.0
    if margin * p0 <= 1.0:
        p1 = margin * p0 + part * (1.0 - margin * p0)
        assert mean_factor(lambda of: bet.on_ratio(FLOATS, BETTER, margin, of), share, p0, p1).max() <= 1.0 + 1e-9
        assert mean_factor(lambda of: bet.on_known_ratio(FLOATS, BETTER, margin, of, rate), share, p0, p1).max() <= 1.0 + 1e-6
    if p0 + excess <= 1.0:
        p1 = p0 + excess + part * (1.0 - p0 - excess)
        assert mean_factor(lambda of: bet.on_excess(FLOATS, BETTER, excess, of), share, p0, p1).max() <= 1.0 + 1e-9


@given(st.floats(1.0, 20.0), st.floats(1.01, 50.0), shares, rates, st.floats(0.0, 1.0), st.floats(1e-4, 0.999))
def test_no_bet_on_odds_pays_within_the_tolerance(
    odds: float, times: float, share: float, p0: float, part: float, rate: float
) -> None:
    most = odds * p0 / (1.0 - p0 + odds * p0)
    least = p0 / odds / (1.0 - p0 + p0 / odds)
    for apart, tolerated, p1 in ((times, odds, part * most), (1.0 / times, 1.0 / odds, least + part * (1.0 - least))):

        def factors(of: bet.Window[float], apart: float = apart, tolerated: float = tolerated) -> list[float]:
            return bet.on_known_odds(FLOATS, [apart], [tolerated], of, rate)

        assert mean_factor(factors, share, p0, p1).max() <= 1.0 + 1e-6


@given(windows(), arms(5000), arms(5000), st.data())
def test_better_is_never_punished_and_evidence_is_monotone(
    past: list[Window], champion: Arm, challenger: Arm, data: st.DataObject
) -> None:
    """After any past: fewer failures of the challenger and more of the champion never speak against the challenger."""
    luckier = Arm(challenger.requests, data.draw(st.integers(0, challenger.errors)))
    poorer = Arm(champion.requests, data.draw(st.integers(champion.errors, champion.requests)))
    (state, verdict), (kinder, kinder_verdict) = (
        judged([*past, Window(len(past) + 1, *arms_)]) for arms_ in ((champion, challenger), (poorer, luckier))
    )
    here, there = (guards.head(POLICY, known, "error_rate") for known in (state, kinder))
    assert there.rollback <= here.rollback + 1e-9 * (1.0 + abs(here.rollback) + abs(there.rollback))
    assert there.promotion >= here.promotion - 1e-9 * (1.0 + abs(here.promotion) + abs(there.promotion))
    if verdict.label is Label.PASS:
        assert kinder_verdict.label is Label.PASS


@given(windows())
def test_exchanged_arms_turn_the_interval_over(found: list[Window]) -> None:
    turned = [Window(w.epoch, w.challenger, w.champion) for w in found]
    here, there = judged(found)[1].findings[0].effect, judged(turned)[1].findings[0].effect
    for ours, theirs in ((here.ratio, there.ratio), (here.low, there.high), (here.high, there.low)):
        if ours and theirs:
            assert ours * theirs == pytest.approx(1.0, rel=5e-3)  # ends are interpolated
        else:  # none of nothing, or an open end against zero
            assert not ours
            assert not theirs


@given(arms(100_000), arms(100_000))
def test_no_window_speaks_against_both_versions(champion: Arm, challenger: Arm) -> None:
    labels = [judged([Window(1, *pair)])[1].label for pair in ((champion, challenger), (challenger, champion))]
    assert labels.count(Label.FAIL) <= 1


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(2, 60), st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8),
)
def test_windows_of_one_share_may_be_merged(n1: int, n0: int, parts: list[tuple[int, float, float]]) -> None:
    split = [Window(1, Arm(25 * n0 * k, int(25 * n0 * k * e0)), Arm(25 * n1 * k, int(25 * n1 * k * e1))) for k, e0, e1 in parts]
    merged = Window(
        1,
        Arm(sum(w.champion.requests for w in split), sum(w.champion.errors for w in split)),
        Arm(sum(w.challenger.requests for w in split), sum(w.challenger.errors for w in split)),
    )
    apart, together = (_evidence(each) for each in (split, [merged]))
    # Promotion wealth may move to the other margin between windows: what is left of the better bet each time is bounded.
    assert apart[1] >= together[1] + len(split) * math.log(1.0 - counts.LEAN_AT_MOST) - math.log(2.0) - 1e-6
    # Rollback: cash invested half-way misses the first half. The 85 % invested at the start are the same in both.
    assert apart[0] >= together[0] + math.log(0.85) - 1e-6 * (1.0 + abs(together[0]))
    likelihood = interval.Likelihood()
    for window in split:
        likelihood = interval.after(likelihood, window)
    assert likelihood.log_values == pytest.approx(interval.after(interval.Likelihood(), merged).log_values, rel=1e-9, abs=1e-7)


def _evidence(found: list[Window]) -> tuple[float, float]:
    """For rollback and for promotion, of counts that bet on bad requests alone."""
    rare = replace(error_rate.BETS, known_from=1.0)
    known = counts.Known.of(FLOATS, rare.fresh)
    for w in found:
        table = (w.challenger.requests, w.challenger.errors, w.champion.requests, w.champion.errors)
        counts.update(known, rare, POLICY.error_rate, *map(float, table), log_cap=1e9)
    return known.rollback, known.promotion


@settings(max_examples=50)
@given(windows(), guards_)
def test_a_state_survives_as_json_bit_for_bit(found: list[Window], guard: ErrorRateGuard) -> None:
    state, _ = judged(found, Policy(error_rate=guard))
    state, _ = decide_alone(POLICY, state, (Sample("g", 99, 2, 500, 7),), champion=1, challenger=2)
    assert STATES.validate_json(STATES.dump_json(state)) == state


@given(windows(10**12), guards_, st.floats(1e-300, 0.2), st.floats(1e-300, 0.2))
def test_numbers_stay_finite_for_any_counts(found: list[Window], guard: ErrorRateGuard, alpha: float, beta: float) -> None:
    policy = Policy(alpha=alpha, beta=beta, error_rate=guard)
    state, verdict = judged(found, policy)
    after, past = decide_alone(policy, state, (Sample("g", 99, 2, 10**12, 10**11),), champion=1, challenger=2)
    assert all(math.isfinite(number) for number in _floats(asdict(after)))
    for finding in (*verdict.findings, *past.findings):
        assert all(math.isfinite(number) for number in _floats(asdict(finding)))
        assert 0.0 <= finding.p_value <= 1.0
        low, ratio, high = finding.effect.low, finding.effect.ratio, finding.effect.high
        assert (low or 0.0) <= (high if high is not None else math.inf)
        if ratio is not None and 1e-3 < ratio < 1e3:
            assert (low or 0.0) <= ratio * 1.001
            assert ratio <= 1.001 * (high if high is not None else math.inf)


def _floats(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in _floats(part)]
    if isinstance(value, list | tuple):
        return [number for part in value for number in _floats(part)]
    return [value] if isinstance(value, float) else []


@given(windows(1000, most=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_readings_may_come_together_or_one_by_one_and_no_request_is_lost(found: list[Window], together: list[bool]) -> None:
    state, waiting = evidence.fresh(0), _NOTHING
    for window, joined in zip(found, together, strict=False):
        waiting += _reading(window)
        if not joined:
            state, _ = decide(POLICY, state, waiting, champion=1, challenger=2)
            waiting = _NOTHING
    state, verdict = decide(POLICY, state, waiting, champion=1, challenger=2)
    finding = verdict.findings[0]
    assert finding.champion_requests == sum(w.champion.requests for w in found)
    assert finding.challenger_errors == sum(w.challenger.errors for w in found)
    assert state.baseline.requests == finding.champion_requests


@given(arms(10**9), st.floats(0.001, 0.2), st.integers(1, 10**6))
def test_alone_more_errors_are_never_better(baseline: Arm, alpha: float, requests: int) -> None:
    policy = Policy(alpha=alpha)
    few, many = (
        alone.after(alone.Alone(), policy, baseline, Arm(requests, errors), 0.0) for errors in (requests // 10, requests // 5)
    )
    assert many.worse >= few.worse - 1e-9 * (1.0 + abs(few.worse))
    assert many.within <= few.within + 1e-9 * (1.0 + abs(few.within))
    assert few.ceiling == many.ceiling
