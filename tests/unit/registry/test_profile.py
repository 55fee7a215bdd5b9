"""The reference profile: places are fixed, every value lands in exactly one of them, and the document says how."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import importance, profile

ROWS = 1000


def built() -> profile.Profile:
    chance = np.random.default_rng(0)
    gappy = chance.normal(size=ROWS)
    gappy[::10] = np.nan
    columns = {
        "temp": gappy,
        "rain": np.where(chance.random(ROWS) < 0.95, 0.0, chance.exponential(size=ROWS)),
        "day": chance.integers(0, 7, ROWS),
        "carrier": np.array(["UA", "AA", None, "B6"] * (ROWS // 4), dtype=object),
    }
    return profile.build(
        columns, chance.random(ROWS), importance={"temp": 3.0, "day": 1.0, "rain": -1.0}, clocks=["day"], top=2
    )


def numeric(name: str) -> profile.Numeric:
    column = next(column for column in built().features if column.name == name)
    assert isinstance(column, profile.Numeric)
    return column


def test_every_row_is_counted_once_in_every_column_and_blocks_follow_the_rows() -> None:
    made = built()
    for column in (*made.features, made.predictions):
        assert column.blocks.sum() == ROWS
        assert len(column.blocks) == ROWS // profile.BLOCK_ROWS
        assert np.ptp(column.blocks.sum(axis=1)) <= 1
    column = profile.build({"x": np.repeat([1.0, 2.0], 640)}, np.zeros(1280)).features[0]
    assert column.blocks[:10, 2].sum() == 640
    assert column.blocks[10:, 3].sum() == 640


def test_nulls_tails_and_far_tails_have_their_places() -> None:
    temp = numeric("temp")
    total = temp.blocks.sum(axis=0)
    assert total[[0, 1, -3, -2, -1]].tolist() == [0, 0, 0, 0, 100]
    low, high = temp.edges[1], temp.edges[-2]
    places = temp.places([-1e9, low - 0.1, low, high, high + 0.1, 1e9, np.inf, -np.inf, np.nan]).tolist()
    last = len(temp.edges)
    assert places == [0, 1, 2, last - 1, last - 1, last, last, 0, last + 1]


def test_quantile_bins_are_about_equally_full_and_ties_make_no_empty_bin() -> None:
    assert numeric("temp").blocks.sum(axis=0)[2:-3].min() >= 40  # 900 rows in 20 bins
    assert numeric("rain").blocks.sum(axis=0)[2:-3].min() > 0


def test_few_distinct_values_get_a_bin_each() -> None:
    day = numeric("day")
    assert len(day.edges) == 7 + 1 + 2
    assert day.places([0, 6, 7]).tolist() == [2, 8, 9]


def test_scores_of_all_versions_share_their_bins() -> None:
    scores = built().predictions
    assert isinstance(scores, profile.Numeric)
    assert scores.edges[1:-2] == profile.SCORE_EDGES
    assert scores.places([0.0, 1.0, 1.1]).tolist() == [2, len(scores.edges) - 2, len(scores.edges) - 1]


def test_rare_and_unseen_categories_are_told_apart() -> None:
    carrier = built().features[-1]
    assert isinstance(carrier, profile.Categorical)
    document = carrier.to_json()
    assert (document["values"], document["rare"]) == (("AA", "B6"), ("UA",))
    assert carrier.places(np.array(["AA", "UA", "new", None, float("nan")], dtype=object)).tolist() == [0, 2, 3, 4, 4]


def test_a_thousand_categories_stay_bounded() -> None:
    many = np.array([f"v{index % 1500}" for index in range(6000)], dtype=object)
    column = profile.build({"c": many}, np.zeros(6000)).features[0]
    assert isinstance(column, profile.Categorical)
    assert column.rare is None
    assert column.blocks.shape[1] == 50 + 3
    assert column.places(["v1499", "never"]).tolist() == [50, 50]
    assert len(json.dumps(column.to_json())) < 20_000


def test_how_often_the_second_half_surprises_the_first() -> None:
    half = ["a"] * 500
    column = profile.build({"c": [*half, *["b"] * 50, *["a"] * 450]}, np.zeros(1000)).features[0]
    assert column.surprise == pytest.approx(0.1)
    grown = profile.build({"x": [*np.linspace(0, 1, 500), *[99.0] * 100, *[0.5] * 400]}, np.zeros(1000)).features[0]
    assert grown.surprise == pytest.approx(0.2)


def test_answers_of_every_shape() -> None:
    chance = np.random.default_rng(1)
    two, three = chance.random((200, 2)), chance.random((200, 3))
    assert profile.build({}, two).reads == "last"
    several = profile.build({}, three)
    assert several.reads == "argmax"
    assert isinstance(several.predictions, profile.Categorical)
    assert set(several.predictions.values) == {"0", "1", "2"}
    names = profile.build({}, np.array(["yes", "no"]))
    assert isinstance(names.predictions, profile.Categorical)
    assert names.reads == "value"


def test_clocks_are_declared_or_found() -> None:
    rows = np.arange(ROWS)
    made = profile.build(
        {
            "id": rows * 3.0,
            "at": pd.date_range("2026-01-01", periods=ROWS, freq="h").to_numpy(),
            "day": rows % 7,
            "x": np.random.default_rng(2).normal(size=ROWS),
        },
        np.zeros(ROWS),
        clocks=["day"],
    )
    assert set(made.clocks) == {"id", "at", "day"}
    assert made.clocks["day"] == "declared at training"


def test_columns_without_places_are_left_out_and_named() -> None:
    lists = np.empty(2000, dtype=object)
    lists[:] = [[1, 2]] * 2000
    made = profile.build({"list": lists, "id": [f"r{row}" for row in range(2000)], "x": np.zeros(2000)}, np.zeros(2000))
    assert set(made.left_out) == {"list", "id"}
    assert [column.name for column in made.features] == ["x"]


def test_a_column_of_nulls_knows_no_value() -> None:
    void = profile.build({"void": [np.nan, np.nan]}, np.array([0.1, 0.2])).features[0]
    assert isinstance(void, profile.Numeric)
    assert void.mean is None
    assert void.places([5.0, -5.0, np.nan]).tolist() == [len(void.edges), 0, len(void.edges) + 1]


def test_importance_is_a_share() -> None:
    assert built().importance == {"temp": 0.75, "day": 0.25, "rain": 0.0}


def test_importance_without_labels() -> None:
    chance = np.random.default_rng(3)
    rows = pd.DataFrame({"a": chance.normal(size=500), "b": chance.normal(size=500), "c": chance.normal(size=500)})

    def fussy(frame: pd.DataFrame) -> np.ndarray:
        if not frame["c"].is_monotonic_increasing:
            raise ValueError("c must ascend")
        return np.asarray(3 * frame["a"] + frame["b"])

    found = importance.permuted(fussy, rows.assign(c=np.arange(500)))
    assert found["a"] / found["b"] == pytest.approx(3, rel=0.15)
    assert found["c"] == found["a"], "what it cannot do without"
    plain = importance.permuted(lambda frame: (frame["a"] > 0).map({True: "yes", False: "no"}), rows)
    assert plain["a"] > 0.4
    assert plain["b"] == 0.0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="column a has 2 rows"):
        profile.build({"a": [1.0, 2.0]}, [1.0])
    with pytest.raises(ValueError, match="bins"):
        profile.build({}, [1.0], bins=1)
    with pytest.raises(ValueError, match="clocks names unknown columns"):
        profile.build({}, [1.0], clocks=["day"])


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60),
)
def test_any_floats(reference: list[float], live: list[float]) -> None:
    made = profile.build({"x": reference}, np.zeros(len(reference)))
    json.dumps(made.to_json(), allow_nan=False)
    column = made.features[0]
    assert isinstance(column, profile.Numeric)
    assert list(column.edges) == sorted(set(column.edges))
    assert len(column.edges) >= 4
    assert column.blocks.sum() == len(reference)
    places = column.places(live)
    assert ((places >= 0) & (places < len(column.edges) + 2)).all()
