"""Restarts come quickly at first, then slower and slower, and never too slowly."""

import pytest

from runtime import backoff


def test_grows_and_stops_growing() -> None:
    one = backoff.Backoff(first_s=0.2, factor=2.0, longest_s=1.0)
    assert [one.delay_s(failures) for failures in (0, 1, 2, 3, 4, 5, 10_000)] == [0.0, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_a_good_life_forgives() -> None:
    one = backoff.Backoff(forgiven_s=60.0)
    assert one.failures(7, ran_s=59.9) == 8
    assert one.failures(7, ran_s=60.0) == 1


@pytest.mark.parametrize("wrong", [{"first_s": 0.0}, {"first_s": 40.0}, {"factor": 0.5}, {"forgiven_s": -1.0}])
def test_impossible_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        backoff.Backoff(**wrong)
