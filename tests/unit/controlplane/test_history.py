"""The champions' last hour, packed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from controlplane.history import History
from judge.samples import Sample

START = datetime(2026, 1, 1, tzinfo=UTC)


def counted(requests: int, version: int = 2) -> Sample:
    return Sample("g@1", 4, version, requests, 1, replica="127.0.0.1:3001", latency=((90, requests - 1),))


def test_what_was_fed_comes_back_spaced_and_not_for_ever() -> None:
    history = History(kept_s=60.0, spacing_s=10.0)
    for second in range(0, 120, 4):
        history.feed("m", START + timedelta(seconds=second), 2, (counted(100 + second), counted(7, version=3)))
    readings = history.readings("m")
    assert [reading.at_s - START.timestamp() for reading in readings] == [48.0, 60.0, 72.0, 84.0, 96.0, 108.0]
    assert readings[-1].samples == (counted(208),), "the champion's alone, as it was"


def test_another_champion_has_no_past_yet() -> None:
    history = History()
    history.feed("m", START, 2, (counted(100),))
    history.feed("m", START + timedelta(seconds=1), 3, (counted(100), counted(5, version=3)))
    assert [sample.version for reading in history.readings("m") for sample in reading.samples] == [3]
    history.feed("m", START + timedelta(seconds=30), None, ())
    assert history.readings("m") == ()
    assert history.readings("unheard-of") == ()
