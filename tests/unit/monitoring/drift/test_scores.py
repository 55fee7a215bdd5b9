"""Distances from counts are those of the textbooks, for all columns at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from monitoring.drift import reference, scores
from registry import profile


def known() -> reference.Reference:
    chance = np.random.default_rng(0)
    columns = {"x": chance.integers(0, 12, 640), "c": np.array(["a", "b", "c", "d"] * 160, dtype=object)}
    return reference.read(json.dumps(profile.build(columns, chance.random(640)).to_json()).encode())


KNOWN = known()
COUNTS = st.lists(st.integers(0, 1000), min_size=KNOWN.size, max_size=KNOWN.size).map(np.array)


@given(COUNTS, COUNTS)
def test_as_scipy_says(window: reference.Ints, other: reference.Ints) -> None:
    window[KNOWN.starts[0] + 3] += 1
    other[KNOWN.starts[0] + 3] += 1
    found = scores.scores(KNOWN.padded(window), KNOWN.padded(other), KNOWN)
    own = slice(KNOWN.starts[0], KNOWN.starts[0] + KNOWN.sizes[0])
    p, q = window[own] / window[own].sum(), other[own] / other[own].sum()
    assert found.jensen_shannon[0] == pytest.approx(distance.jensenshannon(p, q, base=2), abs=1e-7)
    assert found.total_variation[0] == pytest.approx(np.abs(p - q).sum() / 2)
    valued_p, valued_q = p[:-1] / p[:-1].sum(), q[:-1] / q[:-1].sum()
    assert found.kolmogorov_smirnov[0] == pytest.approx(np.abs(np.cumsum(valued_p) - np.cumsum(valued_q)).max())
    where = KNOWN.columns[0].positions() / KNOWN.columns[0].std
    assert found.wasserstein[0] == pytest.approx(stats.wasserstein_distance(where, where, valued_p, valued_q), abs=1e-9)
    assert found.shift[0] == pytest.approx((where * (valued_p - valued_q)).sum(), abs=1e-9)
    assert found.kolmogorov_smirnov[1] == found.wasserstein[1] == found.shift[1] == 0, "categories have no order"


@given(COUNTS)
def test_nothing_is_far_from_itself_and_scores_are_finite(window: reference.Ints) -> None:
    same = scores.scores(KNOWN.padded(window), KNOWN.padded(3 * window), KNOWN)
    for value in (same.jensen_shannon, same.total_variation, same.wasserstein, same.kolmogorov_smirnov):
        assert value == pytest.approx(0, abs=1e-7)
    other = scores.scores(KNOWN.padded(window), KNOWN.padded(KNOWN.total), KNOWN)
    assert all(np.isfinite(getattr(other, name)).all() for name in scores.Scores.__dataclass_fields__)
    assert (other.psi >= 0).all()


def test_psi_as_by_hand() -> None:
    window, other = np.array([[30.0, 70.0, 0.0]]), np.array([[50.0, 50.0, 0.0]])
    by_hand = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert scores.psi(window, other)[0] == pytest.approx(by_hand)


def test_tails_nulls_and_unseen_values() -> None:
    counts = np.zeros(KNOWN.size, dtype=np.int64)
    x, c = KNOWN.starts[0], KNOWN.starts[1]
    labels = KNOWN.columns[0].labels
    for label, many in (("<far below>", 1), ("<below>", 2), ("<above>", 3), ("<far above>", 4), ("<null>", 10)):
        counts[x + labels.index(label)] = many
    counts[c + KNOWN.columns[1].labels.index("<unseen>")] = 5
    counts[c] = 15
    found = scores.scores(KNOWN.padded(counts), KNOWN.padded(KNOWN.total), KNOWN)
    assert (found.far[0], found.outside[0], found.nulls[0], found.unseen[1]) == (0.25, 0.5, 0.5, 0.25)
    assert found.unseen[0] == found.far[1] == found.outside[1] == 0


def test_many_windows_at_once_are_scored_like_each_alone() -> None:
    windows = np.random.default_rng(1).integers(0, 50, (5, KNOWN.size))
    together = scores.jensen_shannon(scores.shares(KNOWN.padded(windows)), scores.shares(KNOWN.padded(KNOWN.total)))
    alone = [scores.scores(KNOWN.padded(one), KNOWN.padded(KNOWN.total), KNOWN).jensen_shannon for one in windows]
    assert together == pytest.approx(np.array(alone))
