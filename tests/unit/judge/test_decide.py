"""Counts in, verdict out: labels, sentences, and what must never be counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from judge import bins, decide, evidence, fold
from judge.ceiling import observe_baseline
from judge.policy import ErrorRateGuard, LatencyGuard, Policy
from judge.samples import InvalidSamples, Sample
from judge.verdict import Label, Verdict

POLICY = Policy(latency=None)
Counts = tuple[int, int, int, int]  # champion's requests and errors, challenger's requests and errors


def reading(counts: Counts, epoch: int = 1, gateway: str = "g") -> tuple[Sample, ...]:
    n0, x0, n1, x1 = counts
    return (Sample(gateway, epoch, 2, n0, x0), Sample(gateway, epoch, 3, n1, x1))


def judge(state: evidence.State, *readings: tuple[Sample, ...], policy: Policy = POLICY) -> tuple[evidence.State, Verdict]:
    verdict = None
    for samples in readings:
        state, verdict = decide.decide(policy, state, samples, champion=2, challenger=3)
    assert verdict is not None
    return state, verdict


@pytest.fixture
def new() -> evidence.State:
    return evidence.fresh(7)


def test_a_version_that_fails_is_failed_in_words_for_people(new: evidence.State) -> None:
    _, verdict = judge(new, reading((8120, 0, 418, 41)))
    assert verdict.label is Label.FAIL
    assert verdict.judge == decide.NAME
    assert verdict.reason == (
        "Version 3 fails 9.8 % of its requests (41 of 418), version 2 0.0 % (0 of 8 120); "
        "chance of such a difference without a real one: below 0.01 %."
    )
    finding = verdict.findings[0]
    assert finding.evidence > finding.threshold == pytest.approx(2.0)
    assert finding.p_value < 1e-10
    assert finding.effect.ratio is None  # no failure of the champion: no finite ratio
    assert finding.effect.low is not None
    assert finding.effect.low > 10
    assert finding.effect.high is None


def test_a_healthy_version_passes_and_the_sentence_says_what_was_shown(new: evidence.State) -> None:
    _, verdict = judge(new, reading((20_000, 100, 5_000, 24)))
    assert verdict.label is Label.PASS
    assert verdict.reason == (
        "Version 3 fails no more than allowed: less than +1 points with 95 % confidence; "
        "it fails 0.48 % (24 of 5 000), version 2 0.5 % (100 of 20 000)."
    )
    assert verdict.findings[0].more_requests is None
    assert verdict.findings[0].promotion_evidence > verdict.findings[0].promotion_threshold


def test_too_few_requests_are_insufficient_with_a_forecast(new: evidence.State) -> None:
    _, verdict = judge(new, reading((1000, 5, 50, 0)))
    assert verdict.label is Label.INSUFFICIENT
    more = verdict.findings[0].more_requests
    assert more is not None
    assert 500 < more < 2000
    assert verdict.reason == f"Not enough requests yet: about {more:,} more to version 3.".replace(",", " ")


def test_between_tolerance_and_margin_nobody_is_promised_a_pass(new: evidence.State) -> None:
    policy = Policy(error_rate=ErrorRateGuard(1.4, 0.1, 1.5, 0.2))
    _, verdict = judge(new, reading((100_000, 1000, 20_000, 310)), policy=policy)
    assert verdict.label is Label.INSUFFICIENT
    assert verdict.findings[0].more_requests is None
    assert "will not be shown to be within the margin" in verdict.reason


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((0, 0, 0, 0), "No requests to version 3 yet."),
        ((900, 3, 0, 0), "No requests to version 3 yet."),
        ((0, 0, 900, 900), "No requests to version 2 beside those to version 3 yet: nothing to compare with."),
    ],
)
def test_no_data_is_neither_good_nor_bad(new: evidence.State, counts: Counts, sentence: str) -> None:
    for samples in ((), reading(counts)):
        state, verdict = judge(new, samples)
        assert verdict.label is Label.INSUFFICIENT
        assert verdict.findings[0].evidence == pytest.approx(0.0)
        assert verdict.findings[0].p_value == 1.0
    assert verdict.reason == sentence
    assert state.rows == new.rows


def test_blind_leaves_everything_as_it_was(new: evidence.State) -> None:
    state, _ = judge(new, reading((8000, 80, 400, 4)))
    after, verdict = decide.decide(POLICY, state, None, champion=2, challenger=3, blind_reason="no gateway is connected.")
    assert after == state
    assert verdict.label is Label.BLIND
    assert verdict.reason == "Version 3 cannot be judged now: no gateway is connected. What was known before stays known."
    assert verdict.findings[0].challenger_requests == 400
    _, verdict = decide.decide(POLICY, state, None, champion=2, challenger=3)
    assert "the gateway's counts could not be read" in verdict.reason


def test_once_failed_always_failed(new: evidence.State) -> None:
    state, _ = judge(new, reading((8000, 8, 400, 40)))
    for samples in (reading((900_000, 9000, 100_000, 40)), ()):
        state, verdict = judge(state, samples)
        assert verdict.label is Label.FAIL
    _, verdict = decide.decide(POLICY, state, None, champion=2, challenger=3, blind_reason="away")
    assert verdict.label is Label.FAIL


def test_a_pass_is_heard_out_again_when_the_version_turns_bad(new: evidence.State) -> None:
    state, verdict = judge(new, reading((20_000, 100, 5_000, 25)))
    assert verdict.label is Label.PASS
    _, verdict = judge(state, reading((21_000, 105, 5_500, 60)))
    assert verdict.label is not Label.PASS


def test_the_same_reading_twice_counts_once(new: evidence.State) -> None:
    once, _ = judge(new, reading((8000, 80, 400, 4)))
    twice, _ = judge(once, reading((8000, 80, 400, 4)))
    assert twice == once


def test_a_restart_in_the_middle_changes_nothing(new: evidence.State) -> None:
    adapter = TypeAdapter(evidence.State)
    readings = [reading((1000 * i, 10 * i, 60 * i, i)) for i in range(1, 30)]
    straight, _ = judge(new, *readings)
    restarted = new
    for samples in readings:
        restarted, _ = judge(adapter.validate_json(adapter.dump_json(restarted)), samples)
    assert restarted == straight


def test_a_counter_that_fell_counts_nothing_and_a_new_gateway_counts_from_zero(new: evidence.State) -> None:
    state, _ = judge(new, reading((8000, 80, 400, 4)))
    fallen, verdict = judge(state, reading((10, 0, 5, 5)))
    assert fallen.rows == state.rows
    assert verdict.findings[0].challenger_requests == 400
    _, verdict = judge(fallen, (*reading((10, 0, 5, 5)), *reading((950, 5, 60, 1), gateway="h")))
    assert verdict.findings[0].challenger_requests == 460


def test_small_windows_wait_until_they_can_be_judged(new: evidence.State) -> None:
    state, verdict = judge(new, reading((20, 0, 1, 1)))
    assert state.pending
    assert state.rows == new.rows
    assert verdict.findings[0].challenger_requests == 1  # shown, though not judged yet
    state, _ = judge(state, reading((49, 0, 2, 2)))
    assert not state.pending
    assert state.rows != new.rows
    assert state.challenger.requests == 2


def test_what_is_left_of_an_older_epoch_is_judged_as_it_is(new: evidence.State) -> None:
    state, _ = judge(new, reading((20, 0, 10, 1)))
    state, _ = judge(state, (*reading((20, 0, 10, 1)), *reading((5, 0, 5, 0), epoch=2)))
    assert [window.epoch for window in state.pending] == [2]
    assert state.challenger.requests == 10


def test_windows_that_wait_are_few(new: evidence.State) -> None:
    state = new
    for epoch in range(1, 30):
        state, verdict = judge(state, reading((0, 0, 7, 1), epoch=epoch))
    assert len(state.pending) <= fold.WAITING_WINDOWS
    assert verdict.findings[0].challenger_requests == 29 * 7


def test_shares_are_judged_epoch_by_epoch(new: evidence.State) -> None:
    # Simpson: in sum version 3 fails 5 times as often, in each epoch just as often
    calm, storm = (20_000, 20, 1_000, 1), (1_000, 200, 20_000, 4_000)
    _, verdict = judge(new, (*reading(calm, epoch=1), *reading(storm, epoch=2)))
    finding = verdict.findings[0]
    assert finding.challenger_errors / finding.challenger_requests > 5 * finding.champion_errors / finding.champion_requests
    assert verdict.label is Label.PASS
    assert finding.effect.ratio == pytest.approx(1.0, abs=0.02)


def test_other_versions_are_none_of_its_business(new: evidence.State) -> None:
    with_other, _ = judge(new, (*reading((8000, 80, 400, 4)), Sample("g", 1, 9, 500, 500)))
    without, _ = judge(new, reading((8000, 80, 400, 4)))
    assert with_other == without


def test_the_baseline_counts_once_beside_the_judged_requests(new: evidence.State) -> None:
    state = observe_baseline(new, reading((5000, 50, 0, 0)), champion=2)
    assert (state.baseline.requests, state.champion.requests) == (5000, 0)
    state, verdict = judge(state, (*reading((5000, 50, 0, 0)), *reading((900, 9, 100, 1), epoch=2)))
    assert (state.baseline.requests, state.baseline.errors) == (5900, 59)
    assert verdict.findings[0].champion_requests == 900


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (reading((8000, 80, 400, 4)) * 2, "counted twice in one reading: gateway g, epoch 1, version 2"),
        ((Sample("g", 1, 2, 10.5, 0),), "whole numbers"),  # type: ignore[arg-type]  # what a careless adapter might hand in
        ((Sample("g", 1, 2, 10, 0, labelled=4.0),), "whole numbers"),  # type: ignore[arg-type]  # as above
        ((Sample("g", 1, 2, 10, 0, latency=((100, 2.5),)),), "whole numbers"),  # type: ignore[arg-type]  # as above
        ((Sample("g", 1, 2, 10, 0, answers=((True, 2),)),), "whole numbers"),
    ],
)
def test_counts_that_cannot_be_are_refused(new: evidence.State, samples: tuple[Sample, ...], message: str) -> None:
    with pytest.raises(InvalidSamples, match=message):
        judge(new, samples)


def test_a_version_is_not_judged_against_itself(new: evidence.State) -> None:
    with pytest.raises(InvalidSamples, match="must differ"):
        decide.decide(POLICY, new, (), champion=2, challenger=2)


def test_a_state_of_another_judge_is_refused(new: evidence.State) -> None:
    with pytest.raises(InvalidSamples, match="not 99"):
        judge(replace(new, version=99), ())


NAN = float("nan")


@pytest.mark.parametrize(
    "impossible",
    [
        {"requests": -1},
        {"errors": -1},
        {"errors": 6},
        {"requests": NAN},
        {"errors": NAN},
        {"labelled": 3, "wrong": 4},
        {"wrong": -1},
        {"labelled": NAN},
        {"lost": -1},
        {"won": NAN},
        {"latency": ((100, -1),)},
        {"latency": ((100, NAN),)},
        {"latency": ((120, 1), (100, 1))},
        {"latency": ((100, 1), (100, 1))},
        {"latency": ((-1, 1),)},
        {"latency": ((bins.BINS, 1),)},
        {"answers": ((3, -2),)},
    ],
)
def test_impossible_samples_cannot_be_made(impossible: dict[str, Any]) -> None:
    with pytest.raises(InvalidSamples, match="impossible"):
        Sample("g", 1, 2, **{"requests": 5, "errors": 0} | impossible)


def test_a_histogram_that_fell_counts_nothing_and_one_that_lost_a_bin_neither(new: evidence.State) -> None:
    def timed(*counts: tuple[int, int]) -> Sample:
        return Sample("g", 1, 3, 400, 0, latency=counts)

    champion = Sample("g", 1, 2, 4000, 0, latency=((100, 4000),))
    state, _ = judge(new, (champion, timed((100, 300), (120, 90))), policy=Policy())
    for counts in (((100, 299), (120, 99)), ((120, 390),)):
        fallen, _ = judge(state, (champion, timed(*counts)), policy=Policy())
        assert fallen.latency == state.latency


def test_the_first_answers_of_a_cold_challenger_are_left_out(new: evidence.State) -> None:
    """60 answers in five seconds, the rest as fast as the champion's."""
    known = observe_baseline(new, (Sample("g", 1, 2, 4000, 0, latency=((100, 4000),)),), champion=2)
    readings = [
        (Sample("g", 1, 2, 4000 * at, 0, latency=((100, 4000 * at),)), Sample("g", 1, 3, 60 * at, 0, latency=own))
        for at, own in ((2, ((500, 120),)), (3, ((100, 60), (500, 120))))
    ]
    warm, _ = judge(known, *readings, policy=Policy())
    assert warm.latency is not None
    assert warm.latency.challenger == ((100, 60),)
    assert warm.latency.rollback < 1.0
    _, verdict = judge(known, *readings, policy=Policy(latency=LatencyGuard(warm_up_requests=0)))
    assert verdict.label is Label.FAIL
