"""Overshoot taken out by exchangeable copies: fair to the last digit between equal versions, and worth something."""

from __future__ import annotations

import math

import numpy as np
import pytest

from judge import copies
from judge.maths import Floats

TILTS = np.array([0.7, 0.8, 1.0, 1.6, 4.0])  # what an answer of each kind multiplies by, were it the challenger's
CHANCES = np.array([0.3, 0.3, 0.2, 0.15, 0.05])
CAP = math.log(20.0)


def log_worth(pooled: Floats, share: float, before: float, own: Floats) -> Floats:
    found: Floats = before + own @ np.log(TILTS) - pooled @ np.log1p(share * (TILTS - 1.0))
    return found


def one_window(rng: np.random.Generator, before: float) -> tuple[float, float]:
    """min(b M, A) and min(M, A) after a window of equal versions, both divided by the wealth before."""
    own, other = rng.multinomial(20, CHANCES).astype(float), rng.multinomial(80, CHANCES).astype(float)

    def worth(dealt: Floats) -> Floats:
        return log_worth(own + other, 0.2, before, dealt)

    after = float(worth(own[None, :])[0])
    boosted = after + copies.log_boost(worth, own, other, before, CAP)
    return math.exp(min(boosted, CAP) - before), math.exp(min(after, CAP) - before)


@pytest.mark.parametrize("missing", [0.5, 1.0, 2.0])
def test_between_equal_versions_the_wealth_up_to_the_threshold_is_a_fair_game(missing: float) -> None:
    rng = np.random.default_rng(7)
    boosted, plain = np.array([one_window(rng, CAP - missing) for _ in range(4000)]).T
    se = boosted.std() / math.sqrt(len(boosted))
    assert boosted.mean() <= 1.0 + 2.0 * se
    assert boosted.mean() >= plain.mean()
    if missing < 2.0:  # near the threshold much would be wasted
        assert plain.mean() < 0.95
        assert boosted.mean() > plain.mean() + 0.03


def test_the_same_window_is_dealt_the_same_copies() -> None:
    first, second = (one_window(np.random.default_rng(3), CAP - 1.0) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("before", [CAP - copies.DEEP - 0.1, CAP, CAP + 3.0])
def test_far_from_the_threshold_and_beyond_it_nothing_is_done(before: float) -> None:
    own, other = np.array([3.0, 1.0, 0.0, 0.0, 9.0]), np.array([30.0, 30.0, 20.0, 15.0, 5.0])
    assert copies.log_boost(lambda dealt: dealt @ np.log(TILTS) + before, own, other, before, CAP) == 0.0


def test_a_window_of_a_thousand_million_answers_is_left_as_it_is() -> None:
    own = np.full(5, 1e12)
    assert copies.log_boost(lambda dealt: dealt @ np.log(TILTS), own, own, CAP - 1.0, CAP) == 0.0
    assert copies.log_boost(lambda dealt: dealt @ np.log(TILTS), 0.0 * own, 0.0 * own, CAP - 1.0, CAP) == 0.0
