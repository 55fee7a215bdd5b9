"""The reference profile: bins are fixed, every value lands in exactly one place, and it survives JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import profile

ROWS = 1000
RNG = np.random.default_rng(0)


def built() -> profile.Profile:
    gappy = RNG.normal(size=ROWS)
    gappy[::10] = np.nan
    columns = {
        "temp": gappy,
        "rain": np.where(RNG.random(ROWS) < 0.95, 0.0, RNG.exponential(size=ROWS)),
        "day": RNG.integers(0, 7, ROWS),
        "carrier": np.array(["UA", "AA", None, "B6"] * (ROWS // 4), dtype=object),
    }
    return profile.build(columns, RNG.random(ROWS), top=2)


def test_every_row_is_counted_once_in_every_column() -> None:
    made = built()
    for column in (*made.features, made.predictions):
        assert sum(column.counts) == ROWS
        assert tuple(np.sum(column.blocks, axis=0)) == column.counts


def test_nulls_under_and_overflow_have_their_places() -> None:
    temp = next(column for column in built().features if column.name == "temp")
    assert isinstance(temp, profile.Numeric)
    assert (temp.counts[0], temp.counts[-2], temp.counts[-1]) == (0, 0, 100)
    live = temp.count([-1e9, 1e9, np.inf, np.nan, 0.0])
    assert (live[0], live[-2], live[-1], sum(live)) == (1, 2, 1, 5)


def test_quantile_bins_are_about_equally_full_and_ties_make_no_empty_bin() -> None:
    temp, rain, *_ = built().features
    assert min(temp.counts[1:-2]) >= 40  # 900 rows in 20 bins
    assert min(rain.counts[1:-2]) > 0


def test_few_distinct_values_get_a_bin_each() -> None:
    day = next(column for column in built().features if column.name == "day")
    assert len(day.counts) == 7 + 3
    assert day.count([0, 6, 7])[1] == 1
    assert day.count([0, 6, 7])[-2] == 1


def test_scores_get_equal_bins_with_both_ends() -> None:
    scores = built().predictions
    assert isinstance(scores, profile.Numeric)
    assert scores.edges[1] == pytest.approx(0.05)
    assert scores.count([0.0, 1.0])[1] == 1
    assert scores.count([0.0, 1.0])[-3] == 1


def test_rare_and_unseen_categories_are_other() -> None:
    carrier = next(column for column in built().features if column.name == "carrier")
    assert isinstance(carrier, profile.Categorical)
    assert carrier.values == ("AA", "B6")
    assert carrier.counts == (250, 250, 250, 250)
    assert carrier.count(np.array(["AA", "new", None, float("nan")], dtype=object)) == (1, 0, 1, 2)


def test_class_names_as_predictions_and_empty_columns() -> None:
    made = profile.build({"void": [np.nan, np.nan]}, np.array(["yes", "no"]))
    assert isinstance(made.predictions, profile.Categorical)
    void = made.features[0]
    assert isinstance(void, profile.Numeric)
    assert void.counts == (0, 0, 2)
    assert void.mean is None
    assert void.count([1.0, -1.0, np.nan]) == (1, 1, 1)


def test_json_and_back() -> None:
    made = built()
    assert profile.Profile.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False))) == made
    with pytest.raises(ValueError, match="format 2"):
        profile.Profile.from_json({"format": 2})


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="column a has 2 rows"):
        profile.build({"a": [1.0, 2.0]}, [1.0])
    with pytest.raises(ValueError, match="bins"):
        profile.build({}, [1.0], bins=1)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60),
)
def test_any_floats(reference: list[float], live: list[float]) -> None:
    column = profile.build({"x": reference}, np.zeros(len(reference))).features[0]
    assert sum(column.counts) == len(reference)
    json.dumps(profile.Profile(1, (column,), column).to_json(), allow_nan=False)
    assert sum(column.count(live)) == len(live)
    assert len(column.count(live)) == len(column.counts)
    assert np.array_equal(np.add(column.count(live), column.count(reference)), column.count(live + reference))
