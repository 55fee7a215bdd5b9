"""What the drift benchmark compares is what it says: the product's own verdicts, the same windows, thresholds at equal false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from bench.drift import cases, changes, faults, ours, peers
from bench.drift.cases import Case
from bench.drift.changes import QUIET, Told
from monitoring.drift import calibration, verdict


@pytest.fixture(scope="module")
def calm() -> Case:
    return cases.made_up(0.9, 12_000, 8_000, 1)


def test_counts_of_a_window_are_those_of_its_rows(calm: Case) -> None:
    watcher = ours.Ours(calm, 100, rows=1000)
    counts = watcher.counts(700, 1700)
    for column, start in zip((*watcher.profile.features, watcher.profile.predictions), watcher.known.starts, strict=True):
        values = calm.live_answers if column is watcher.profile.predictions else calm.live[column.name].to_numpy()
        places = np.bincount(column.places(values[700:1700]), minlength=column.blocks.shape[1])
        assert counts[start : start + len(places)].tolist() == places.tolist()
    assert verdict.rows_of(watcher.known, counts) == 1000


def test_ours_is_the_products_verdict_on_the_gravest_window(calm: Case) -> None:
    live = calm.live.assign(normal=calm.live["normal"] + np.where(np.arange(4000) >= 3500, 5.0, 0.0))
    watcher = ours.Ours(calm.with_live("moved", live, calm.live_answers), 100, rows=2000)
    assert watcher.lengths == (2000, 1000, 500, 250, 125)
    told = watcher.look(3600)
    part = calibration.part(calibration.FALSE_ALARMS, watcher.lengths.index(told.rows - told.rows % 125), len(watcher.lengths))
    calibrated = calibration.calibrate(watcher.known, told.rows, seed=1, false_alarms=part)
    assert told.verdict == verdict.judge(watcher.known, watcher.counts(3600 - told.rows, 3600), calibrated, least=watcher.least)
    assert told.alarm
    assert "normal" in told.verdict.columns
    assert not watcher.look(2000).alarm


def test_a_column_that_is_missing_counts_as_null(calm: Case) -> None:
    told = ours.Ours(calm.with_live("gone", calm.live.drop(columns="free"), calm.live_answers), 100, rows=1000).look(1000)
    assert told.verdict.columns == ("free",)


def test_shuffled_days_are_the_same_rows(calm: Case) -> None:
    found = cases.shuffled_in_time(calm, 500, 3)
    assert (len(found.reference), len(found.live)) == (8000, 4000)
    both = np.sort(np.concatenate([found.reference_answers, found.live_answers]))
    assert np.array_equal(both, np.sort(np.concatenate([calm.reference_answers, calm.live_answers])))
    within = found.live["hour"].to_numpy()[:500]
    assert (np.diff(within) % 24 <= 1).all(), "what follows in time stays together"


def test_others_are_not_given_clocks(calm: Case) -> None:
    known, live = calm.frames()
    assert "hour" not in known
    assert list(known) == list(live)
    assert np.array_equal(live["prediction"], calm.live_answers)


def test_made_up_rows_do_not_drift() -> None:
    rows = cases.made_up(0.99, 200_000, 100_000, 2)
    assert abs(rows.live["normal"].mean() - rows.reference["normal"].mean()) < 0.1
    assert rows.live["normal"].autocorr(1) == pytest.approx(0.99, abs=0.01)


def test_a_delay_counts_from_the_change() -> None:
    told = Told(np.array([5000, QUIET, QUIET + 100, QUIET + 200]), np.array([0.9, 1.2, 0.8, 2.0]))
    assert told.quiet == 1.2
    assert told.delay(1.0) == 200.0
    assert np.isnan(told.delay(2.0))


def test_thresholds_are_set_to_as_many_false_alarms_as_allowed() -> None:
    told = [Told(np.array([QUIET]), np.array([height])) for height in np.arange(1.0, 21.0)]
    for allowed, alarms in ((0.05, 1), (0.0, 0), (0.25, 5)):
        assert sum(each.quiet > changes.factor(told, allowed) for each in told) == alarms


def test_adwin_alarms_at_the_look_after_its_own() -> None:
    quiet_rows: dict[float, list[int]] = {delta: [] for delta in changes.DELTAS}
    told = changes._adwin({**quiet_rows, changes.DELTAS[0]: [QUIET + 10, QUIET + 150], changes.DELTAS[1]: [QUIET + 150]})
    assert told.delay(0.0) == 100.0
    assert told.delay(float(-np.log(changes.DELTAS[0]))) == 200.0


def test_what_is_always_flagged_is_said_to_be_so() -> None:
    usual = peers.Beyond({"a": np.array([2.0]), "b": np.array([0.5])})
    spoilt = peers.Beyond({"a": np.array([2.0]), "b": np.array([1.5])})
    assert faults._said(usual, "", usual) == "flags 1 of 2 columns"
    assert [faults._said(spoilt, name, usual) for name in "abc"] == ["flagged, as without the fault", "flagged", "not seen"]
    assert faults._said(peers.Beyond({}, "ValueError: no"), "a", usual) == "raises ValueError"


def test_evidently_is_asked_what_its_report_would_say(calm: Case) -> None:
    """The same columns are flagged, without the report around them."""
    live = calm.live.assign(normal=calm.live["normal"] + 0.5, category="c1")
    moved = calm.with_live("moved", live, calm.live_answers)
    beyond = peers.evidently(moved, [(0, 2000)])
    report = faults._evidently(moved.with_live("window", live[:2000], calm.live_answers[:2000]), known_rows=len(calm.reference))
    assert {name for name, own in beyond.columns.items() if own[0] >= 1.0} == {
        name for name, own in report.columns.items() if own[0] > 1.0
    }
    assert beyond.columns["normal"][0] > 1.0
