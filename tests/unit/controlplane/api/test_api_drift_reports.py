"""Reports in depth over the API: asked for, followed, listed, read; bad orders and missing parts are said. A report is made by the real reporter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cli.render import reports as pictures
from controlplane.api import services
from controlplane.drift.reports import Reporter
from monitoring.reports.making import Bounds
from registry.reports import MemoryReports

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)  # of the fixtures

BASE = "/models/delay/versions/2/drift/reports"
Connect = Callable[[services.Services], httpx.AsyncClient]


@pytest.fixture
def shelf() -> MemoryReports:
    made = MemoryReports()
    made.add("delay", 2)
    return made


@pytest.fixture
def reporter(shelf: MemoryReports, tmp_path: Path) -> Reporter:
    return Reporter(
        shelf=shelf,
        root=str(tmp_path),
        in_service=list,
        clock=lambda: NOW,
        every_s=0,
        window=timedelta(days=1),
        bounds=Bounds(),
    )


async def test_one_is_asked_for_followed_and_read(
    connect: Connect, parts: services.Services, reporter: Reporter, shelf: MemoryReports
) -> None:
    async with connect(replace(parts, reports=reporter)) as client:
        asked = await client.post(BASE, json={"start": "2026-11-23T06:00:00Z"})
        assert asked.status_code == 202, asked.text
        made = asked.json()
        assert (made["state"], made["start"], made["end"]) == ("waiting", "2026-11-23T06:00:00Z", "2026-11-23T12:00:00Z")
        assert [each["state"] for each in (await client.get(BASE)).json()["reports"]] == ["waiting"]
        await reporter.once()
        found = (await client.get(f"{BASE}/{made['id']}")).json()
        assert (found["state"], found["outcome"], found["html"]) == ("ended", "no_reference", None)
        assert "reference_rows" in found["reason"]
        assert (await client.get(BASE)).json()["reports"] == [found]
        assert (await client.get(f"{BASE}/latest")).status_code == 404
        await shelf.keep("delay", 2, made["id"], {"report.html": b"<html>", "result.json": b"{}"})
        page = await client.get(f"{BASE}/{made['id']}/report.html")
        assert page.content == b"<html>"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"] == "sandbox allow-scripts"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"start": "2026-11-24T00:00:00Z"}, "start"),
        ({"start": "2020-01-01T00:00:00Z"}, "start"),
        ({"start": "2026-11-23T06:00:00"}, "start"),
        ({"since": "1d"}, "since"),
    ],
)
async def test_a_bad_window_is_refused_with_its_field(
    connect: Connect, parts: services.Services, reporter: Reporter, body: dict[str, str], field: str
) -> None:
    async with connect(replace(parts, reports=reporter)) as client:
        answer = await client.post(BASE, json=body)
    assert answer.status_code == 422
    assert field in answer.text
    assert reporter.pending("delay", 2) == ()


async def test_what_is_missing_is_said(
    connect: Connect, parts: services.Services, reporter: Reporter, shelf: MemoryReports
) -> None:
    async with connect(parts) as client:
        assert (await client.get(BASE)).status_code == 503
    async with connect(replace(parts, reports=reporter)) as client:
        assert (await client.post("/models/delay/versions/9/drift/reports", json={})).status_code == 404
        assert (await client.get(f"{BASE}/20260101T000000000Z-hand")).status_code == 404
        assert (await client.get(f"{BASE}/..%2f..%2fx")).status_code in (404, 422)
        assert (await client.get(f"{BASE}/20260101T000000000Z-hand/other.html")).status_code == 422
        shelf.down = True
        assert (await client.get(BASE)).status_code == 503
    unlogged = Reporter(
        shelf=shelf, root="", in_service=list, clock=lambda: NOW, every_s=0, window=timedelta(days=1), bounds=Bounds()
    )
    async with connect(replace(parts, reports=unlogged)) as client:
        answer = await client.post(BASE, json={})
    assert answer.status_code == 409
    assert "SLIPWAY_PREDICTION_LOG" in answer.json()["detail"]


async def test_the_cli_draws_what_the_api_says(connect: Connect, parts: services.Services, reporter: Reporter) -> None:
    async with connect(replace(parts, reports=reporter)) as client:
        made = (await client.post(BASE, json={})).json()
        listed = (await client.get(BASE)).json()
        await reporter.once()
        ended = (await client.get(f"{BASE}/{made['id']}")).json()
    pictures.listing(listed, NOW)
    drawn = pictures.one(ended, ascii_only=True)
    words = " ".join(str(part) for part in getattr(drawn, "renderables", ()))
    assert "no reference" in words
    assert "reference_rows" in words
