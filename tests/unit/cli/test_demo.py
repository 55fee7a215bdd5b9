"""What the demo proves and how it says so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from cli.commands import demo
from cli.demo import depth, report, story, summer
from cli.demo.programs import Answer
from cli.demo.summer import Told

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def rollout(version: int, outcome: str, **more: Any) -> dict[str, Any]:
    made = {
        "id": f"r-{version}",
        "version": version,
        "outcome": outcome,
        "reason": "Version 3 fails 16.7 % of its requests (4 of 24), version 2 0.0 % (0 of 381).",
        "created_at": at(0),
        "ended_at": at(20),
        "decided_at": at(10),
        "requests": {"undo": None, "abort": None},
    }
    return {**made, **more}


def answers(*outcomes: tuple[int, str]) -> list[Answer]:
    return [Answer(BEGIN.timestamp() + 1 + i, 2.0, version, outcome) for i, (version, outcome) in enumerate(outcomes)]


EVENTS = [
    {"kind": "phase", "at": at(1), "data": {"phase": "starting"}},
    {"kind": "phase", "at": at(4), "data": {"phase": "progressing"}},
    {"kind": "ended", "at": at(20), "data": {"phase": "rolled_back"}},
]
BETTER, BROKEN, SLOW, RETRAINED = story.under_traffic(2, 3, 5, 4)
SERVED = answers((2, "ok"), (3, "ok"), (3, "model_error"))


def test_a_rollout_is_reported_by_two_witnesses() -> None:
    moment = BEGIN.timestamp()
    found = report.rollout_report(BROKEN, rollout(3, "rolled_back"), EVENTS, SERVED, [(moment + 10.029, 3), (moment + 15, 2)])
    assert (found.served, found.failed_by_version, found.failed_because_of_us) == ({"v2": 1, "v3": 2}, {"v3": 1}, 0)
    assert found.decision_to_last_request_ms == pytest.approx(29, abs=0.5)
    assert found.phases_s == {"queued": 1.0, "starting": 3.0, "progressing": 16.0}


def test_as_told_or_not() -> None:
    ended = report.rollout_report(BROKEN, rollout(3, "rolled_back"), EVENTS, SERVED, [])
    better = report.rollout_report(BETTER, rollout(2, "promoted"), EVENTS, SERVED, [])
    told = [(BETTER, better), (BROKEN, ended)]
    assert report.problems(told, SERVED, champion=2) == ()
    assert "names version 3, not 2" in report.problems(told, SERVED, champion=3)[0]
    ours = report.problems(told, [*SERVED, *answers((2, "gateway_or_transport"))], champion=2)
    assert ours == ("1 requests failed because of us (gateway_or_transport)",)
    assert report.problems([(BROKEN, replace(ended, outcome="promoted")), *told], SERVED, 2)[0].startswith(
        "canary of version 3: breaks on missing weather: ended promoted, not rolled_back"
    )
    assert "nothing was proven" in report.problems(told, SERVED[:2], champion=2)[0]


SUMMER = Told(2, "none", "benign", "Benign drift: temp moved; the predictions are as they were.", ("temp",), 31.4)
PAGE = depth.Page(
    "20260301T120000000Z-hand",
    12_345,
    ("temp", "dewp"),
    14,
    "drift-report.html",
    "drift/v2/20260301T120000000Z-hand/report.html",
)


def test_the_table_fits_80_columns_whole() -> None:
    entry = report.rollout_report(RETRAINED, rollout(4, "rolled_back"), EVENTS, SERVED, [])
    entry = replace(entry, served={"v2": 12_345, "v4": 12_345}, failed_by_version={"v4": 1_234}, duration_s=125.0)
    whole = report.Report("flight-delay", (entry,), 12_345, 0, 99.3, 2.1, 8.4, 2, SUMMER, PAGE)
    console = Console(width=80, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(demo._table(whole))
        console.print(demo._reasons(whole))
        console.print(demo._summary(whole))
    said = captured.get()
    assert "…" not in said
    assert max(len(line) for line in said.splitlines()) <= 80
    for needed in ("v4 blue-green", "rolled back", "2 min 5 s", "v2 12 345", "v4 1 234", "All went as told."):
        assert needed in said


def test_summer_is_told_once_a_window_is_full_of_it() -> None:
    def window(start: float, label: str, *columns: str) -> dict[str, Any]:
        said = {"label": label, "sentence": f"{label}: {columns}", "columns": columns, "at": at(start + 20.0)}
        return {**said, "window": {"start": at(start)}}

    found = iter([window(-9.0, "none"), window(-1.0, "benign", "temp"), window(1.0, "benign", "temp")])
    said: list[str] = []
    told = summer.tell(lambda: next(found), 2, said.append, BEGIN)
    assert (told.before, told.label, told.columns, told.alarm_s) == ("none", "benign", ("temp",), 21.0)
    assert said == ["  benign: ('temp',)"]
