"""Thresholds keep their promise: about so many false alarms as stated, over all columns together, also when rows hang together."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from monitoring.drift import calibration, reference
from registry import profile

from .conftest import World, predicted, rows_of


@pytest.mark.parametrize(("hang", "rows"), [(0.0, 400), (0.9, 400), (0.99, 1500)])
def test_false_alarms_are_as_stated(hang: float, rows: int) -> None:
    alarms, windows = 0, 0
    for seed in range(4):
        drawn = rows_of(40_000, seed=100 + seed, hang=hang)
        past = {name: values[:20_000] for name, values in drawn.items()}
        made = profile.build(past, predicted(past), clocks=["hour"])
        world = World(made, reference.read(json.dumps(made.to_json()).encode()))
        calibrated = calibration.calibrate(world.known, rows, seed=seed)
        known, asked = world.known.padded(world.known.total), calibration.family(world.known)
        for start in range(20_000, 40_000 - rows + 1, rows):
            counts = world.counts({name: values[start : start + rows] for name, values in drawn.items()})
            scores = calibration.compared(world.known.padded(counts), known, world.known)
            alarms += bool((scores / calibrated.thresholds)[asked].max() > 1)
            windows += 1
    assert alarms <= 0.05 * windows + 2.5 * np.sqrt(0.05 * 0.95 * windows), f"{alarms} of {windows}"


def test_shuffled_rows_would_promise_too_much() -> None:
    """The thresholds of rows that hang together are wider than those of the same rows in any order: why blocks are kept."""
    rows = rows_of(20_000, seed=3, hang=0.99)
    order = np.random.default_rng(0).permutation(20_000)
    made = [profile.build({"temp": values}, np.zeros(20_000)) for values in (rows["temp"], rows["temp"][order])]
    known = [reference.read(json.dumps(each.to_json()).encode()) for each in made]
    hanging, shuffled = (calibration.calibrate(each, 400, seed=0).thresholds[0] for each in known)
    assert (hanging > 2 * shuffled).all()


def test_thresholds_fit_the_window(world: World) -> None:
    small, large = (calibration.calibrate(world.known, rows, seed=0) for rows in (100, 2000))
    assert (small.thresholds[:3, 0] > large.thresholds[:3, 0]).all()
    assert small.runs > large.runs >= calibration.RUNS


def test_the_same_seed_gives_the_same_thresholds(world: World) -> None:
    first, again, other = (calibration.calibrate(world.known, 300, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.thresholds, again.thresholds)
    assert not np.array_equal(first.thresholds, other.thresholds)


def test_a_score_at_its_threshold_has_the_stated_p_value(world: World) -> None:
    """Of the share of the level that is spent."""
    found = calibration.calibrate(world.known, 500, seed=0)
    p = found.p_values(found.thresholds)
    assert found.p_family(float(p[0])) == pytest.approx(0.05 * calibration.SPENT, rel=0.1)
    assert found.p_family(1.0) == 1.0
    assert (found.p_values(found.thresholds * 2) < p).all()


def test_windows_smaller_than_a_block_are_refused(world: World) -> None:
    least = calibration.least_rows(world.known)
    assert calibration.length_of(world.known, least - 1) == 0.0
    assert calibration.length_of(world.known, least) == 1.0
    with pytest.raises(ValueError, match="smaller than a block"):
        calibration.calibrate(world.known, least - 1, seed=0)


def test_large_windows_are_held_against_an_eighth_of_the_reference(world: World) -> None:
    lengths = [calibration.length_of(world.known, rows) for rows in (2_000, 5_000, 10**6)]
    assert lengths[0] <= lengths[1] == lengths[2] <= len(world.known.blocks) / calibration.RUNS


def test_lengths_share_the_false_alarms() -> None:
    parts = [calibration.part(0.05, place, 5) for place in range(5)]
    assert sum(parts) == pytest.approx(0.05)
    assert all(longer == pytest.approx(4 * shorter) for longer, shorter in pairwise(parts))
    assert calibration.part(0.05, 0, 1) == pytest.approx(0.05)


def test_a_column_is_blind_when_not_even_new_values_alone_would_be_an_alarm(world: World) -> None:
    found = calibration.calibrate(world.known, 300, seed=0)
    assert not found.blind(world.known).any()
    wide = found.thresholds.copy()
    wide[0] = (1.1, 1.1, 100.0)
    wide[1] = (1.1, 0.9, 100.0)
    assert replace(found, thresholds=wide).blind(world.known).tolist() == [True, *[False] * 5]
