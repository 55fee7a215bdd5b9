"""Answers as numbers: in order where there is one, in the same bins for every version, and to be read back."""

from __future__ import annotations

import math

import pytest

from judge import answers


def test_scores_ascend_and_share_a_bin_with_what_rounds_alike() -> None:
    scores = [-math.inf, -3e20, -1234.0, -0.51, -1e-12, 0.0, 1e-9, 0.0013, 0.24, 0.25, 0.99, 1.0, 17.2, 1e15, math.inf]
    numbers = [answers.of_score(score) for score in scores]
    assert numbers == sorted(numbers)
    assert answers.of_score(0.2371) == answers.of_score(0.2449) != answers.of_score(0.2451)
    assert answers.of_score(0.996) == answers.of_score(1.0)
    assert answers.of_score(-1e-12) == answers.of_score(0.0)
    assert all(map(answers.is_score, numbers))


@pytest.mark.parametrize(
    ("score", "name"), [(0.0, "0"), (0.2371, "0.24"), (-17.4, "-17"), (1234.0, "1200"), (1e-9, "1e-09"), (math.inf, "9.9e+15")]
)
def test_a_score_is_called_as_it_rounds(score: float, name: str) -> None:
    assert answers.name(answers.of_score(score)) == name


@pytest.mark.parametrize("text", ["setosa", "", "3", "<null>", "spät", "x" * 100])
def test_a_class_is_its_own_name_and_no_score(text: str) -> None:
    number = answers.of_class(text)
    assert answers.name(number) == text
    assert not answers.is_score(number)
    assert number > answers.of_score(math.inf)


def test_what_is_missing_is_a_class_and_plain_bins_keep_their_numbers() -> None:
    assert answers.of_score(math.nan) == answers.of_class(answers.NULL)
    assert answers.name(7) == "bin_7"
    assert not answers.is_score(7)
