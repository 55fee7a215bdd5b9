"""A report in a process of its own: what it finds, and every way in which it may fail, each an outcome with a reason. Evidently is the real one, or one
in its place on the path that raises, hangs or eats memory."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from controlplane.drift.ledger import Judged
from controlplane.drift.reports import Reporter
from controlplane.metrics.recorder import Recorder, Replica
from monitoring import prediction_files as files
from monitoring.drift.verdict import Label, Verdict
from monitoring.reports import making, runner
from monitoring.reports.making import Bounds, Order, Report
from monitoring.reports.outcome import End, Trigger
from registry.reports import MemoryReports
from rollout import ports

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROWS = 600


def rows(seed: int, many: int = ROWS, **changed: object) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "feature.x": chance.normal(size=many),
            "feature.y": chance.normal(size=many),
            "feature.c": chance.choice(list("abc"), many),
            "prediction": chance.random(many),
        }
    )
    return frame.assign(**changed)


class World:
    """A version with reference rows, a log, and somebody who makes reports of it."""

    def __init__(self, folder: Path) -> None:
        self.shelf = MemoryReports()
        self.root = folder / "log"
        self.folder = folder
        self.refer(1, rows(0))

    def refer(self, version: int, frame: pd.DataFrame) -> None:
        file = self.folder / "reference.parquet"
        frame.to_parquet(file, index=False)
        self.shelf.add("m", version, file.read_bytes())

    def log(self, frame: pd.DataFrame, version: int = 1) -> None:
        fixed = {"request_id": None, "trace_id": None, "row": 0, "model": "m", "version": str(version), "schema_version": "s"}
        name = files.Name(NOW - timedelta(minutes=1), "w", 1)
        folder = self.root / files.folder("m", str(version)) / name.day
        folder.mkdir(parents=True, exist_ok=True)
        frame.assign(time=pd.Timestamp(NOW - timedelta(minutes=1)), **fixed).to_parquet(folder / name.file, index=False)

    async def make(
        self, version: int = 1, *, memory_mb: int = 2048, seconds: float = 100.0, kept: int = 30, minute: int = 0
    ) -> Report:
        order = Order("m", version, NOW - timedelta(hours=1), NOW, Trigger.HAND, NOW + timedelta(minutes=minute))
        bounds = Bounds(runner.Limits(memory_mb, seconds), kept=kept)
        steps: list[str] = []
        return await making.make(self.shelf, str(self.root), order, bounds, seconds=time.monotonic, step=steps.append)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def instead_of_evidently(world: World, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    package = world.folder / "path" / "evidently"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


async def test_a_report_is_made_kept_and_read_back_with_what_evidently_does_not_see(world: World) -> None:
    live = rows(1, **{"feature.x": rows(1)["feature.x"] + 2.0, "feature.y": np.full(ROWS, np.nan)})
    live.loc[:239, "feature.c"] = None
    world.log(live.assign(prediction=[[1.0 - p, p] for p in live["prediction"]]))
    made = await world.make()
    assert (made.result.end, made.result.reason, made.unkept) == (End.DONE, "", "")
    assert {(check.column, check.kind) for check in made.result.checks} == {("y", "empty"), ("c", "nulls")}
    assert made.result.left_out == {"y": "it has no value in the window"}
    found = {score.column: score for score in made.result.scores}
    assert found.keys() == {"x", "c", "prediction"}
    assert found["x"].drifted
    assert not found["prediction"].drifted
    page = await world.shelf.file("m", 1, made.order.id, "report.html")
    assert b"<html" in page[:2000].lower()
    assert await making.read(world.shelf, "m", 1, made.order.id) == made


async def test_a_thousand_categories_and_unit_bugs_are_reported(world: World) -> None:
    known = rows(0, many=2000)
    world.refer(1, known.assign(**{"feature.c": [f"c{i % 1000}" for i in range(2000)]}))
    live = rows(1, many=2000)
    live.loc[:39, "feature.x"] *= 1e6
    world.log(live.assign(**{"feature.c": [f"d{i % 1000}" for i in range(2000)], "feature.y": 1.0}))
    made = await world.make()
    assert made.result.end is End.DONE
    assert {(check.column, check.kind) for check in made.result.checks} == {("x", "far"), ("y", "constant"), ("c", "unseen")}


async def test_two_versions_with_different_features_each_have_their_own(world: World) -> None:
    world.refer(2, rows(0).rename(columns={"feature.y": "feature.z"}))
    world.log(rows(1))
    world.log(rows(1).rename(columns={"feature.y": "feature.z"}), version=2)
    columns = [{score.column for score in (await world.make(version)).result.scores} for version in (1, 2)]
    assert columns == [{"x", "y", "c", "prediction"}, {"x", "z", "c", "prediction"}]


async def test_a_missing_column_is_said(world: World) -> None:
    world.log(rows(1).drop(columns="feature.y").assign(**{"feature.new": 1.0}))
    checks = (await world.make()).result.checks
    assert {(check.column, check.kind) for check in checks} == {("y", "missing"), ("new", "extra")}


async def test_a_window_without_rows_is_no_report(world: World) -> None:
    made = await world.make()
    assert made.result.end is End.TOO_FEW_ROWS
    assert made.result.reason.startswith("0 rows were logged")
    assert await world.shelf.listed("m", 1) == [made.order.id], "it is listed all the same"


async def test_no_reference_another_schema_and_a_corrupt_one_have_reasons(world: World) -> None:
    world.log(rows(1))
    world.log(rows(1), version=9)
    assert (await world.make(9)).result.end is End.NO_REFERENCE
    world.refer(1, pd.DataFrame({"feature.other": [1.0, 2.0], "prediction": [None, None]}))
    assert (await world.make()).result.end is End.OTHER_SCHEMA
    world.shelf.add("m", 1, b"no parquet")
    made = await world.make()
    assert made.result.end is End.NO_REFERENCE
    assert "cannot be read" in made.result.reason


async def test_evidently_raising_leaves_our_checks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.log(rows(1).assign(**{"feature.y": np.nan}))
    instead_of_evidently(world, monkeypatch, "raise ValueError('broken inside')")
    made = await world.make()
    assert (made.result.end, made.result.reason) == (End.FAILED, "ValueError: broken inside")
    assert [check.kind for check in made.result.checks] == ["empty"]
    assert made.files == ("result.json",)


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "import os, time; os.close(1); time.sleep(600)"])
async def test_evidently_hanging_is_ended(world: World, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    world.log(rows(1))
    instead_of_evidently(world, monkeypatch, code)
    made = await world.make(seconds=4.0)
    assert (made.result.end, made.result.reason) == (End.LATE, "it was not done within 4 s")
    assert made.result.rows == ROWS


async def test_evidently_running_out_of_memory_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.log(rows(1))
    instead_of_evidently(world, monkeypatch, "kept = [bytearray(1 << 24) for _ in range(10_000)]")
    made = await world.make(memory_mb=600)
    assert (made.result.end, made.result.reason) == (End.OUT_OF_MEMORY, "it needed more than 600 MB")


async def test_a_process_that_crashes_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.log(rows(1))
    instead_of_evidently(world, monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    made = await world.make()
    assert made.result.end is End.FAILED
    assert "ended with -11" in made.result.reason


async def test_mlflow_away_before_and_after(world: World) -> None:
    world.shelf.down = True
    made = await world.make()
    assert made.result.end is End.REGISTRY_AWAY
    assert made.unkept == "MLflow cannot be reached"


async def test_old_reports_are_deleted(world: World) -> None:
    made = [await world.make(version=1, kept=2, minute=minute) for minute in range(3)]
    assert await world.shelf.listed("m", 1) == [made[2].order.id, made[1].order.id]


class Site:
    """A control plane's reporter over it."""

    def __init__(self, world: World, every_s: float = 0.0) -> None:
        self.now = NOW
        self.serving = [Replica("m", 1, "a:1")]
        self.recorder = Recorder(clock=lambda: self.now, drift=lambda: self.reporter.rows())  # noqa: PLW0108 - made below
        self.reporter = Reporter(
            shelf=world.shelf,
            root=str(world.root),
            in_service=lambda: self.serving,
            clock=lambda: self.now,
            every_s=every_s,
            window=timedelta(days=1),
            bounds=Bounds(),
            reported=self.recorder.drift_reported,
        )

    def text(self) -> str:
        return self.recorder.exposition(openmetrics=False)().decode()


async def test_an_alarm_brings_a_report_of_its_window_once_and_gauges(world: World) -> None:
    world.log(rows(1).assign(**{"feature.y": np.nan}))
    site = Site(world)
    judged = Judged("m", 1, NOW, NOW - timedelta(hours=1), NOW, Verdict(Label.BROKEN_DATA, "y is null", ROWS, ("y",)))
    site.reporter.alarmed(judged)
    site.reporter.alarmed(judged)
    (pending,) = site.reporter.pending("m", 1)
    assert (pending.order.start, pending.order.end, pending.order.trigger) == (judged.start, judged.end, Trigger.ALARM)
    await site.reporter.once()
    (report,) = await site.reporter.listed("m", 1, 10)
    assert report.result.end is End.DONE
    assert await site.reporter.newest("m", 1) == report.order.id
    assert 'slipway_drift_reports_total{model="m",outcome="done"} 1.0' in site.text()
    assert 'slipway_drift_report_broken{model="m",model_version="1"} 1.0' in site.text(), "y is"
    assert 'slipway_drift_report_drifted{model="m",model_version="1"}' in site.text()
    assert 'slipway_drift_report_score{model="m",model_version="1",feature="x",method="' in site.text()
    again = Site(world)
    await again.reporter.once()
    assert "slipway_drift_report_score{" in again.text(), "a restarted control plane reads it back"


async def test_the_schedule_makes_one_when_it_is_due(world: World) -> None:
    site = Site(world, every_s=3600)
    await site.reporter.once()
    assert await site.reporter.listed("m", 1, 10) == []
    site.now += timedelta(hours=1)
    await site.reporter.once()
    await site.reporter.once()
    (report,) = await site.reporter.listed("m", 1, 10)
    assert (report.order.trigger, report.result.end) == (Trigger.SCHEDULE, End.TOO_FEW_ROWS)


async def test_what_mlflow_does_not_take_is_remembered(world: World) -> None:
    site = Site(world)
    order = site.reporter.ask("m", 1, NOW - timedelta(hours=1), NOW, Trigger.HAND)
    world.shelf.down = True
    await site.reporter.once()
    found = await site.reporter.report("m", 1, order.id)
    assert (found.result.end, found.unkept) == (End.REGISTRY_AWAY, "MLflow cannot be reached")


async def test_the_queue_is_bounded(world: World) -> None:
    site = Site(world)
    for _ in range(16):
        site.reporter.ask("m", 1, NOW - timedelta(hours=1), NOW, Trigger.HAND)
    with pytest.raises(ports.Unavailable, match="16 reports are waiting"):
        site.reporter.ask("m", 1, NOW - timedelta(hours=1), NOW, Trigger.HAND)
