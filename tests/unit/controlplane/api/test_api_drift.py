"""Drift over the API: the state of what is served with scores, thresholds and how they were found; the history; and what the CLI draws of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
from rich.console import Console

from cli.render import drift as pictures
from controlplane.api import services
from controlplane.drift.ledger import Judged
from controlplane.drift.watcher import Look
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_drift import MemoryLedger
from monitoring.drift import calibration, reference, verdict
from registry import profile
from rollout import model

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Connect = Callable[[services.Services], httpx.AsyncClient]


def judged(version: int, shift: float, at: datetime = NOW) -> Judged:
    """What is said of a window whose `temp` moved by so many standard deviations; `hour` is a clock."""
    chance = np.random.default_rng(version)
    columns = {"temp": chance.normal(size=6400), "hour": np.arange(6400) // 60 % 24}
    made = profile.build(columns, 1 / (1 + np.exp(-columns["temp"])), importance={"temp": 1.0}, clocks=["hour"])
    known = reference.read(json.dumps(made.to_json()).encode())
    live = {"temp": chance.normal(size=1000) + shift, "hour": np.arange(1000) // 60 % 24}
    counts = np.zeros(known.size, dtype=np.int64)
    for column, start in zip((*made.features, made.predictions), known.starts, strict=True):
        values = 1 / (1 + np.exp(-live["temp"])) if column is made.predictions else live[column.name]
        counted = np.bincount(column.places(values))
        counts[start : start + len(counted)] += counted
    found = verdict.judge(known, counts, calibration.calibrate(known, 1000, seed=1), least=calibration.least_rows(known))
    return Judged("delay", version, at, at - timedelta(hours=1), at, found, "Traffic: temp moved on both sides alike.")


def drawn(picture: object) -> str:
    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as said:
        console.print(picture)
    return said.get()


async def test_the_state_shows_scores_thresholds_and_their_calibration(
    connect: Connect, parts: services.Services, store: MemoryStore
) -> None:
    await store.save(None, model.ModelRecord("delay", champion=1), ())
    looks = (
        Look("delay", 2, champion=False, judged=None, reason="the version has no reference profile", looked_at=None),
        Look("delay", 1, champion=True, judged=judged(1, 1.5), reason=None, looked_at=NOW),
    )
    async with connect(replace(parts, drift=lambda name: looks if name == "delay" else ())) as client:
        found = (await client.get("/models/delay/drift")).json()
    second, first = found["versions"]
    assert (second["version"], second["reason"], second["verdict"]) == (2, "the version has no reference profile", None)
    said = first["verdict"]
    assert (first["champion"], said["label"], said["columns"]) == (True, "harmful", ["prediction", "temp"])
    assert said["sentence"].startswith("Harmful drift: predictions moved from ")
    assert said["comparison"] == "Traffic: temp moved on both sides alike."
    assert (said["window"]["rows"], said["clocks"]) == (1000, {"hour": "declared at training"})
    assert (said["calibrated"]["false_alarms"], said["calibrated"]["rows"] > 500) == (0.05, True)
    temp = next(finding for finding in said["findings"] if finding["column"] == "temp")
    assert temp["drifts"]
    assert temp["kolmogorov_smirnov"] > temp["kolmogorov_smirnov_threshold"] > 0
    text = drawn(pictures.state(found, NOW))
    for words in (
        said["sentence"],
        "unknown: the version has no reference profile",
        "delay v1 champion",
        "windows without drift",
    ):
        assert words in text
    assert "Not compared, for they follow the time: hour." in text


async def test_the_history_is_paged_newest_first(connect: Connect, parts: services.Services, store: MemoryStore) -> None:
    ledger = MemoryLedger(store)
    for minute, shift in enumerate((0.0, 0.0, 1.5)):
        await ledger.record(judged(2, shift, NOW + timedelta(minutes=minute)))
    async with connect(replace(parts, ledger=ledger)) as client:
        page = (await client.get("/models/delay/versions/2/drift", params={"limit": 2})).json()
        assert [entry["verdict"]["label"] for entry in page["entries"]] == ["harmful", "none"]
        older = (await client.get(page["next"].removeprefix("/api/v1"))).json()
        assert ([entry["verdict"]["label"] for entry in older["entries"]], older["next"]) == (["none"], None)
        assert (await client.get("/models/delay/versions/3/drift")).json()["entries"] == []
        assert (await client.get("/models/delay/versions/9/drift")).status_code == 404
    text = drawn(pictures.history(page, NOW + timedelta(minutes=5)))
    assert page["entries"][0]["verdict"]["sentence"][:60] in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/delay/drift", 200),
        ("/models/unknown/drift", 404),
        ("/models/delay/versions/0/drift", 422),
        ("/models/delay/versions/2/drift?limit=501", 422),
        ("/models/delay/versions/2/drift", 503),
    ],
)
async def test_what_is_not_there_is_said(client: httpx.AsyncClient, path: str, status: int) -> None:
    """Nothing is watched here: no looks and no ledger."""
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert "Nothing of delay is served." in drawn(pictures.state(answer.json(), NOW))


async def test_every_drift_route_is_in_the_openapi_document(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    base = "/api/v1/models/{name}"
    assert {path for path in document["paths"] if "drift" in path} == {
        f"{base}/drift",
        f"{base}/versions/{{version}}/drift",
        f"{base}/versions/{{version}}/drift/reports",
        f"{base}/versions/{{version}}/drift/reports/{{report_id}}",
        f"{base}/versions/{{version}}/drift/reports/{{report_id}}/{{file}}",
    }
    policies = [schema for name, schema in document["components"]["schemas"].items() if "Policy" in name]
    assert any({"prediction_shift", "on_drift"} <= set(schema["properties"]) for schema in policies)
