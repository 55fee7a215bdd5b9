"""What a rollout needs, told beforehand, and the refusal of what cannot finish."""

from __future__ import annotations

import pytest

from judge.policy import ErrorRateGuard, LatencyGuard, Mode, Policy
from rollout.model import Ramp, Spec, Step, Strategy
from rollout.preview import Preview, preview

STEPS = (Step(5), Step(20), Step(50), Step(100))
QUIET = ((150, 2000), (180, 6000), (240, 1900), (320, 100))  # an hour of latencies


def planned(
    policy: Policy | None = None, *, rate: float | None = 100.0, auto: Ramp | None = None, steps: tuple[Step, ...] = STEPS
) -> Preview:
    spec = Spec("m", 2, 1, steps=steps, auto=auto, policy=policy or Policy())
    return preview(spec, requests_per_s=rate, error_rate=0.005, latency=QUIET)


def test_a_healthy_version_with_traffic_can_finish() -> None:
    found = planned()
    assert found.refusal is None
    assert [step.weight_pct for step in found.steps] == [5, 20, 50]
    assert found.total_minutes is not None
    assert 0.0 < found.total_minutes < 60.0
    assert found.total_requests == sum(step.requests for step in found.steps)
    assert found.sentences[-1].endswith("if it is healthy.")


def test_without_traffic_no_step_ever_finishes() -> None:
    for rate in (None, 0.0):
        found = planned(rate=rate)
        assert found.refusal is not None
        assert found.refusal.startswith("No traffic was seen on m lately, so no step could ever finish.")
        assert found.total_minutes is None


@pytest.mark.parametrize("auto", [None, Ramp()])
def test_what_takes_longer_than_the_deadline_is_refused_with_what_to_change(auto: Ramp | None) -> None:
    narrow = Policy(error_rate=ErrorRateGuard(1.1, 0.01, 1.2, 0.02), insufficient_deadline_s=600.0)
    found = planned(narrow, auto=auto)
    assert found.refusal is not None
    assert "but the policy gives up after 10 min" in found.refusal
    assert "a wider margin, or a longer insufficient_deadline_s" in found.refusal


def test_a_slow_service_needs_longer_and_a_deadline_that_is_long_enough_is_accepted() -> None:
    assert planned(rate=0.2).refusal is not None
    patient = planned(Policy(insufficient_deadline_s=7 * 86400.0), rate=0.2)
    assert patient.refusal is None
    assert patient.total_minutes is not None
    assert patient.total_minutes > 60.0


@pytest.mark.parametrize(
    ("policy", "least_min"),
    [
        (Policy(error_rate=ErrorRateGuard(mode=Mode.BLOCK)), 35.0),
        (Policy(latency=LatencyGuard(mode=Mode.BLOCK)), 2.0),
    ],
)
def test_blocks_of_time_take_their_time_whatever_the_traffic(policy: Policy, least_min: float) -> None:
    for rate in (100.0, 10_000.0):
        minutes = planned(policy, rate=rate).total_minutes
        assert minutes is not None
        assert least_min <= minutes <= 60.0
    exact = planned(rate=10_000.0).total_minutes
    assert exact is not None
    assert exact < 1.0


def test_nothing_is_forecast_where_nothing_is_compared() -> None:
    first = preview(Spec("m", 2, None), requests_per_s=None, error_rate=None)
    assert (first.steps, first.refusal) == ((), None)
    assert first.sentences == ("No version serves m yet: version 2 gets all traffic once it is ready.",)
    switch = preview(Spec("m", 2, 1, strategy=Strategy.BLUE_GREEN), requests_per_s=None, error_rate=None)
    assert (switch.steps, switch.refusal) == ((), None)
