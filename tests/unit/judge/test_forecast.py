"""Forecasts against simulated rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from judge import forecast
from judge.policy import InvalidPolicy, Policy

POLICY = Policy(latency=None)


@pytest.mark.parametrize("p0", [0.0, 0.001, 0.01, 0.05])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_requests_to_pass_of_a_healthy_version(run: Callable[..., Any], p0: float, share: float) -> None:
    expected = forecast.requests_to_pass(POLICY, p0, 100.0 * share)
    requests = max(int(expected / share / 40), 60)  # about 40 windows to the decision
    batch = run(POLICY, [(share, p0, p0)] * 160, seed=21, rollouts=250, requests=requests)
    assert (batch.passed >= 0).mean() >= 0.98
    assert np.nanmean(batch.requests_at_decision) == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize(("p0", "ratio", "share"), [(0.01, 5.0, 0.05), (0.01, 2.0, 0.2), (0.001, 10.0, 0.5), (0.05, 3.0, 0.05)])
def test_requests_to_detect_a_regression(run: Callable[..., Any], p0: float, ratio: float, share: float) -> None:
    expected = forecast.requests_to_detect(POLICY, p0, ratio, 100.0 * share)
    requests = max(int(expected / share / 40), 60)
    batch = run(POLICY, [(share, p0, p0 * ratio)] * 160, seed=22, rollouts=250, requests=requests)
    found = batch.rolled_back >= 0
    assert found.mean() >= 0.98
    assert (batch.rolled_back[found].mean() + 1.0) * requests * share == pytest.approx(expected, rel=0.3)


def test_what_is_tolerated_is_never_detected() -> None:
    assert forecast.requests_to_detect(POLICY, 0.01, 1.05, 5.0) == forecast.FAR
    assert forecast.requests_to_detect(POLICY, 0.0, 5.0, 5.0) == forecast.FAR


@pytest.mark.parametrize(
    ("error_rate", "share_pct", "field"),
    [
        (0.01, 0.0, "share_pct"),
        (0.01, 100.0, "share_pct"),
        (0.01, float("nan"), "share_pct"),
        (1.5, 5.0, "error_rate"),
        (float("nan"), 5.0, "error_rate"),
    ],
)
def test_bad_input_names_the_field(error_rate: float, share_pct: float, field: str) -> None:
    with pytest.raises(InvalidPolicy, match=field):
        forecast.requests_to_pass(POLICY, error_rate, share_pct)
    with pytest.raises(InvalidPolicy, match=field):
        forecast.requests_to_detect(POLICY, error_rate, 2.0, share_pct)
    with pytest.raises(InvalidPolicy, match="ratio"):
        forecast.requests_to_detect(POLICY, 0.01, float("nan"), 5.0)
