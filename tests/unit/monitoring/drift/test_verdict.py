"""What breaks is broken data, what matters is harmful, what does not is benign, and nothing is nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitoring.drift import calibration, limits, reference, verdict
from monitoring.drift.verdict import Break, Label
from registry import profile

from .conftest import World, predicted, rows_of

ROWS = 2000


def judged(world: World, rows: Any, answers: Any = None) -> verdict.Verdict:
    counts = world.counts(rows, answers)
    many = verdict.rows_of(world.known, counts)
    calibrated = calibration.calibrate(world.known, many, seed=1)
    return verdict.judge(world.known, counts, calibrated, least=calibration.least_rows(world.known))


def test_the_same_as_ever_is_no_drift(world: World) -> None:
    found = judged(world, rows_of(ROWS, seed=5))
    assert found.label is Label.NONE
    assert found.sentence.startswith("No drift: no column is beyond its threshold")
    assert found.calibrated is not None
    assert found.calibrated.false_alarms == 0.05
    assert dict(found.clocks) == {"hour": "declared at training"}


def nulls(rows: dict[str, Any]) -> None:
    rows["temp"][np.random.default_rng(1).random(ROWS) < 0.4] = np.nan


def missing(rows: dict[str, Any]) -> None:
    del rows["temp"]


def empty(rows: dict[str, Any]) -> None:
    rows["wind"][:] = np.nan


def unit_bug(rows: dict[str, Any]) -> None:
    rows["temp"][np.random.default_rng(2).random(ROWS) < 0.01] *= 1000


def new_category(rows: dict[str, Any]) -> None:
    rows["origin"][np.random.default_rng(3).random(ROWS) < 0.03] = "SFO"


def stuck(rows: dict[str, Any]) -> None:
    rows["noise"][:] = 0.1


@pytest.mark.parametrize(
    ("spoil", "column", "broke", "says"),
    [
        (nulls, "temp", Break.NULLS, "temp is null in 4"),
        (missing, "temp", Break.EMPTY, "temp is null in every row, or missing"),
        (empty, "wind", Break.EMPTY, "wind is null in every row"),
        (unit_bug, "temp", Break.FAR, "temp is far outside of all that was seen at training"),
        (new_category, "origin", Break.UNSEEN, "origin has values never seen at training in "),
        (stuck, "noise", Break.STUCK, "noise is stuck at one value"),
    ],
)
def test_broken_data_is_called_so(world: World, spoil: Any, column: str, broke: Break, says: str) -> None:
    rows = rows_of(ROWS, seed=6)
    spoil(rows)
    found = judged(world, rows)
    assert found.label is Label.BROKEN_DATA
    assert found.columns == (column,)
    assert next(f for f in found.findings if f.column == column).breaks == (broke,)
    assert says in found.sentence


def test_a_swapped_unit_is_found(world: World) -> None:
    rows = rows_of(ROWS, seed=7)
    rows["temp"] = rows["temp"] * 9 / 5 + 32  # degrees Fahrenheit
    found = judged(world, rows)
    assert found.label is Label.HARMFUL
    assert "temp" in found.columns
    assert found.sentence.startswith("Harmful drift: predictions moved from 0.5")


def test_what_the_model_does_not_look_at_is_benign(world: World) -> None:
    rows = rows_of(ROWS, seed=8)
    rows["noise"] += 2
    found = judged(world, rows)
    assert (found.label, found.columns) == (Label.BENIGN, ("noise",))
    assert found.sentence.endswith("the predictions are as they were.")
    assert found.harm < 1


def test_predictions_alone_are_harm_enough(world: World) -> None:
    rows = rows_of(ROWS, seed=9)
    found = judged(world, rows, np.clip(predicted(rows) + 0.2, 0, 1))
    assert (found.label, found.columns) == (Label.HARMFUL, ("prediction",))
    assert "while no feature is beyond its threshold" in found.sentence
    assert found.harm > 1


def test_important_features_harm_even_before_predictions_show_it(world: World) -> None:
    rows = rows_of(ROWS, seed=10)
    answers = predicted(rows)
    rows["temp"] += 6
    found = judged(world, rows, answers)
    assert found.label is Label.HARMFUL
    assert "on which the model depends; its predictions hardly moved" in found.sentence


def test_clocks_raise_no_alarm_but_break_like_others(world: World) -> None:
    rows = rows_of(ROWS, seed=11)
    rows["hour"] = np.zeros(ROWS)
    assert not any(finding.drifts for finding in judged(world, rows).findings if finding.column == "hour")
    del rows["hour"]
    assert judged(world, rows).columns == ("hour",)


@pytest.mark.parametrize("many", [0, 1, 50])
def test_few_rows_are_not_enough(world: World, many: int) -> None:
    counts = world.counts({name: values[:many] for name, values in rows_of(50, seed=1).items()})
    found = verdict.judge(world.known, counts, None, least=calibration.least_rows(world.known))
    assert (found.label, found.rows) == (Label.NOT_ENOUGH_DATA, many)
    assert f"the window has {many} rows" in found.sentence


def test_constant_columns_and_columns_without_values_do_not_disturb() -> None:
    chance = np.random.default_rng(0)
    columns = {"k": np.ones(6400), "void": np.full(6400, np.nan), "x": chance.normal(size=6400)}
    made = profile.build(columns, np.full(6400, 0.5))
    world = World(made, reference.read(json.dumps(made.to_json()).encode()))
    same = {name: values[:640] for name, values in columns.items()}
    assert judged(world, same, np.full(640, 0.5)).label is Label.NONE
    assert judged(world, {**same, "void": np.zeros(640)}, np.full(640, 0.5)).columns == ("void",)
    other = judged(world, {**same, "k": np.full(640, 1.5)}, np.full(640, 0.5))
    assert (other.label, other.columns) == (Label.BENIGN, ("k",)) or other.columns == ("k",)


def test_a_share_has_a_lower_bound() -> None:
    bounds = limits.at_least(np.array([0.0, 0.01, 1.0]), 1000)
    assert bounds[0] == 0
    assert 0.001 < bounds[1] < 0.01
    assert 0.98 < bounds[2] < 1


def test_the_gravest_window_is_told_and_of_equal_ones_the_longest(world: World) -> None:
    calm, moved = judged(world, rows_of(ROWS, seed=5)), judged(world, {**rows_of(ROWS, seed=8), "noise": np.full(ROWS, 2.0)})
    few = verdict.judge(world.known, world.counts({}, np.zeros(0)), None, least=1)
    assert [verdict.gravest(each) for each in ([calm], [calm, moved, calm], [moved, moved], [calm, few])] == [0, 1, 0, 0]


def test_what_is_sure_but_small_is_no_drift(world: World) -> None:
    """4 % of the rows are elsewhere: beyond any threshold, and not worth a ticket."""
    rows = rows_of(20_000, seed=0)
    rows["noise"] = np.random.default_rng(4).normal(size=20_000)
    rows["noise"][:800] = 3.0
    counts = world.counts(rows)
    calibrated = calibration.calibrate(world.known, 20_000, seed=1)
    sure = replace(calibrated, thresholds=calibrated.thresholds / 4)
    found = next(f for f in verdict.judge(world.known, counts, sure, least=1).findings if f.column == "noise")
    assert found.jensen_shannon > found.jensen_shannon_threshold
    assert not found.drifts
    assert found.ratio < 1


def test_what_cannot_be_told_is_said(world: World) -> None:
    calibrated = calibration.calibrate(world.known, ROWS, seed=1)
    wide = replace(calibrated, thresholds=calibrated.thresholds * np.array([1000.0, 1, 1, 1, 1, 1])[:, None])
    found = verdict.judge(world.known, world.counts(rows_of(ROWS, seed=5)), wide, least=1)
    assert [finding.column for finding in found.findings if finding.blind] == ["temp"]
    assert found.sentence.endswith("; in so few rows nothing could be told of temp.")
