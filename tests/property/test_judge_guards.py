"""What must hold of every guard for any counts: numbers stay finite, a state survives storing, and better is never punished."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from judge import bins, decide, evidence, guards, latency, latency_margin, slowdowns
from judge.maths import FLOATS
from judge.policy import (
    DisagreementGuard,
    ErrorRateGuard,
    LatencyGuard,
    Mode,
    Policy,
    PredictionShiftGuard,
    QualityGuard,
)
from judge.samples import Arm, Counts, Sample
from judge.verdict import Verdict

STATES = TypeAdapter(evidence.State)
MODES = st.sampled_from([Mode.EXACT, Mode.BLOCK])
# no tolerance at all and hardly any margin is the edge of what may be asked for
POLICIES = st.builds(
    lambda strict, ordered, errors, slow: Policy(
        error_rate=ErrorRateGuard(1.0, 0.0, 1.01, 0.01, mode=errors) if strict else ErrorRateGuard(mode=errors),
        latency=LatencyGuard(0.0, 0.0, 0.1, 0.0, mode=slow) if strict else LatencyGuard(mode=slow),
        prediction_shift=PredictionShiftGuard(tolerance_odds=1.0 if strict else 1.25, ordered=ordered),
        quality=QualityGuard(1.0, 0.0, 1.01, 0.01) if strict else QualityGuard(),
        disagreement=DisagreementGuard(1.0, 1.01) if strict else DisagreementGuard(),
    ),
    st.booleans(),
    st.booleans(),
    MODES,
    MODES,
)


def counts(largest: int, last: int) -> st.SearchStrategy[Counts]:
    found = st.dictionaries(st.integers(0, last), st.integers(1, largest), max_size=6)
    return found.map(lambda each: tuple(sorted(each.items())))


@st.composite
def arms(draw: st.DrawFn, largest: int) -> Arm:
    requests, labelled = draw(st.integers(0, largest)), draw(st.integers(0, largest))
    errors, wrong = draw(st.integers(0, requests)), draw(st.integers(0, labelled))
    slow, answers = draw(counts(largest, bins.BINS - 1)), draw(counts(largest, 5))
    return Arm(requests, errors, slow, answers, labelled, wrong, draw(st.integers(0, largest)), draw(st.integers(0, largest)))


def windows(largest: int, most: int = 6) -> st.SearchStrategy[list[tuple[Arm, Arm]]]:
    return st.lists(st.tuples(arms(largest), arms(largest)), min_size=1, max_size=most)


def reading(epoch: int, pair: tuple[Arm, Arm]) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            "g", epoch, version, arm.requests, arm.errors, latency=arm.latency, answers=arm.answers,
            labelled=arm.labelled, wrong=arm.wrong, lost=arm.lost, won=arm.won,
        )
        for version, arm in enumerate(pair, start=1)
    )  # fmt: skip


def judged(found: list[tuple[Arm, Arm]], policy: Policy, *, restarts: bool = False) -> tuple[evidence.State, Verdict]:
    """Each window in an epoch of its own, half a minute apart; the last reading comes twice."""
    state = evidence.fresh(0)
    for number, pair in enumerate([*found, found[-1]], start=1):
        samples = reading(min(number, len(found)), pair)
        state, verdict = decide.decide(policy, state, samples, champion=1, challenger=2, now_s=31.0 * number)
        if restarts:
            state = STATES.validate_json(STATES.dump_json(state))
    return state, verdict


def floats(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in floats(part)]
    if isinstance(value, list | tuple):
        return [number for part in value for number in floats(part)]
    return [value] if isinstance(value, float) else []


@settings(deadline=None, max_examples=60)
@given(windows(10**12), POLICIES)
def test_numbers_stay_finite_for_any_counts_of_any_guard(found: list[tuple[Arm, Arm]], policy: Policy) -> None:
    state, verdict = judged(found, policy)
    assert all(math.isfinite(number) for number in floats(asdict(state)))
    assert all(math.isfinite(number) for number in floats(asdict(verdict)))
    assert all(0.0 <= finding.p_value <= 1.0 for finding in verdict.findings)


@settings(deadline=None, max_examples=40)
@given(windows(10**4), POLICIES)
def test_a_restart_after_every_reading_changes_nothing(found: list[tuple[Arm, Arm]], policy: Policy) -> None:
    assert judged(found, policy, restarts=True) == judged(found, policy)


@settings(deadline=None, max_examples=60)
@given(windows(2000), arms(2000), arms(2000), st.data())
def test_better_labels_and_pairs_are_never_punished(
    past: list[tuple[Arm, Arm]], champion: Arm, challenger: Arm, data: st.DataObject
) -> None:
    policy = Policy(latency=None, quality=QualityGuard(), disagreement=DisagreementGuard())
    lucky = replace(
        challenger, wrong=data.draw(st.integers(0, challenger.wrong)), lost=data.draw(st.integers(0, challenger.lost))
    )
    poor = replace(champion, wrong=data.draw(st.integers(champion.wrong, champion.labelled)))
    lucky = replace(lucky, won=challenger.won + challenger.lost - lucky.lost)
    here, there = (judged([*past, pair], policy)[0] for pair in ((champion, challenger), (poor, lucky)))
    for name in ("quality", "disagreement"):
        before, after = (guards.head(policy, state, name) for state in (here, there))
        slack = 1e-9 * (1.0 + abs(before.rollback) + abs(after.rollback))
        assert after.rollback <= before.rollback + slack
        slack = 1e-9 * (1.0 + abs(before.promotion) + abs(after.promotion))
        assert after.promotion >= before.promotion - slack


REFERENCE: Counts = ((150, 400), (180, 900), (200, 500), (240, 150), (300, 50))
ALTERNATIVES = slowdowns.build(REFERENCE, (), 50.0, 5.0, 0.0)
GUARD = LatencyGuard()
CUTS = latency_margin.cuts(REFERENCE, GUARD)
answers_at = st.lists(st.integers(0, bins.BINS - 1), min_size=1, max_size=40)


def spoken(*windows: tuple[list[int], list[int]]) -> tuple[float, float]:
    """For a rollback and for a promotion, of windows of the champion's and the challenger's answers in these bins."""
    known, margins = latency.RECORD.of(FLOATS, latency.FRESH), latency_margin.fresh(GUARD)
    for window in windows:
        other, own = (np.bincount(at, minlength=bins.BINS).astype(float) for at in window)
        grouped = ALTERNATIVES.grouped(own, challenger=True), ALTERNATIVES.grouped(other, challenger=False)
        latency.update(known, ALTERNATIVES, *(each[None, :] for each in grouped), log_cap=5.0)
        margins = latency_margin.after(margins, CUTS, own, other)
    return known.rollback, latency_margin.promotion(margins)


@given(answers_at, answers_at, st.data())
def test_faster_answers_are_never_punished(champion: list[int], challenger: list[int], data: st.DataObject) -> None:
    faster = [data.draw(st.integers(0, at)) for at in challenger]
    slower = [data.draw(st.integers(at, bins.BINS - 1)) for at in champion]
    (before, shown), (after, shown_then) = spoken((champion, challenger)), spoken((slower, faster))
    assert after <= before + 1e-9 * (1.0 + abs(before))
    assert shown_then >= shown - 1e-9 * (1.0 + abs(shown))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.data())
def test_windows_of_answers_at_one_share_may_be_merged(n1: int, n0: int, parts: int, data: st.DataObject) -> None:
    def drawn(size: int) -> list[int]:
        return data.draw(st.lists(st.integers(0, bins.BINS - 1), min_size=size, max_size=size))

    split = [(drawn(n0), drawn(n1)) for _ in range(parts)]
    merged = tuple([at for window in split for at in window[arm]] for arm in (0, 1))
    (apart, shown), (together, shown_together) = spoken(*split), spoken((merged[0], merged[1]))
    assert shown == pytest.approx(shown_together, rel=1e-9, abs=1e-9)
    # cash that was invested half-way misses the first half; the 85 % invested at the start are the same in both
    assert apart >= together + math.log(0.85) - 1e-9 * (1.0 + abs(together))
