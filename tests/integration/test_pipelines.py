"""Replay and propose against real sockets: open loop, honest counting, and clear words when nobody is there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from cli.stack.ports import free_port
from pipelines import flights, propose, replay
from pipelines.tally import Outcome, Record
from tests.receiver import Receiver

Handler = Callable[[web.Request], Awaitable[web.Response]]
START = datetime(2026, 1, 1, tzinfo=UTC)


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/flight-delay/predict", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/flight-delay/predict"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def make(plan: replay.Plan, log: io.StringIO | None = None, watch: Callable[[Record], None] | None = None) -> replay.Replay:
    return replay.Replay(plan, itertools.repeat(b"{}"), clock=lambda: START, log=log, watch=watch)


async def test_every_kind_of_answer_is_counted_once_and_logged() -> None:
    seen = itertools.count()

    async def handler(request: web.Request) -> web.Response:
        version = {"x-model-version": "3", "x-request-id": "abc"}
        match next(seen) % 4:
            case 0:
                return web.json_response({}, headers=version)
            case 1:
                return web.json_response({"type": "https://x/problems/model-error"}, status=500, headers=version)
            case 2:
                return web.json_response({}, status=422, headers=version)
            case _:
                return web.Response(status=503, text="no healthy upstream")

    log, watched = io.StringIO(), list[Record]()
    async with serving(handler) as url:
        summary = await make(replay.Plan(url, rate=400, count=80), log, watched.append).run()
    assert summary["outcomes"] == {"ok": 20, "model_error": 20, "client_error": 20, "gateway_or_transport": 20, "unsent": 0}
    assert summary["versions"]["3"]["requests"] == 60
    assert summary["failures"] == {"status 503": 20}
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == len(watched) == 80
    assert min(line["at"] for line in lines) == START.timestamp()
    assert "500 abc" in {line.get("detail") for line in lines}


async def test_a_stalled_server_changes_neither_the_sending_nor_hides_in_the_latency() -> None:
    arrived = list[float]()
    released = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        arrived.append(time.perf_counter())
        await released.wait()
        return web.json_response({}, headers={"x-model-version": "1"})

    async with serving(handler) as url:
        running = asyncio.create_task(make(replay.Plan(url, rate=100, poisson=False, count=20, max_in_flight=15)).run())
        await until(lambda: len(arrived) == 15)  # open loop: they come although none was answered
        await asyncio.sleep(0.1)
        released.set()
        summary = await running
    assert summary["outcomes"]["ok"] == 15
    assert summary["outcomes"]["unsent"] == 5
    assert summary["latency_ms"]["p50"] > 90


async def test_a_dead_server_and_a_silent_one_are_recorded_and_survived() -> None:
    dead = await make(replay.Plan(f"http://127.0.0.1:{free_port()}/x", rate=500, count=10)).run()
    assert dead["outcomes"]["gateway_or_transport"] == 10
    assert dead["failures"] == {"ClientConnectorError": 10}

    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(handler) as url:
        silent = await make(replay.Plan(url, rate=500, count=5, timeout_s=0.2)).run()
    assert silent["outcomes"][Outcome.GATEWAY] == 5
    assert sum(silent["failures"].values()) == 5


async def test_connections_are_reused() -> None:
    peers = set[Any]()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    async with serving(handler) as url:
        summary = await make(replay.Plan(url, rate=100, poisson=False, count=50)).run()
    assert summary["outcomes"]["ok"] == 50
    assert len(peers) < 15


async def test_stop_ends_it_and_what_is_under_way_is_still_answered() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.json_response({})

    async with serving(handler) as url:
        running = make(replay.Plan(url, rate=200))
        task = asyncio.create_task(running.run())
        await until(lambda: running.tally.outcomes[Outcome.OK] >= 5)
        running.stop()
        async with asyncio.timeout(3):
            summary = await task
    assert summary["outcomes"]["gateway_or_transport"] == 0
    assert summary["sent"] == summary["outcomes"]["ok"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    values: dict[tuple[str, ...], object] = {flights.SCHEDULE: 1, flights.WEATHER: 1.0, flights.PLACES: "X"}
    rows = {name: [value] * 20 for names, value in values.items() for name in names}
    frame = pd.DataFrame(
        {flights.DEPARTS: pd.date_range("2013-05-01", periods=20, freq="h", tz="UTC"), **rows, flights.LATE: 0}
    )
    frame.to_parquet(folder / flights.CACHE)
    return folder


async def test_the_program_runs_until_sigterm_and_leaves_log_and_summary(data: Path, tmp_path: Path) -> None:
    seen = list[dict[str, Any]]()

    async def handler(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.json_response({}, headers={"x-model-version": "2"})

    async with serving(handler) as url:
        gateway = url.removesuffix("/flight-delay/predict")
        files = ("--log", str(tmp_path / "log.jsonl"), "--summary", str(tmp_path / "out" / "summary.json"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipelines.replay", "--gateway", gateway, "--rate", "50", "--data", str(data), *files),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await until(lambda: len(seen) >= 10)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    summary = json.loads(output)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["versions"]["2"]["requests"] == len(seen) == len((tmp_path / "log.jsonl").read_text().splitlines())
    assert seen[0]["dataframe_split"]["columns"] == list(flights.FEATURES)


class ControlPlane(Receiver):
    """As much of the API as a proposal needs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        order = json.loads(body)
        self.asked.append((path, headers["idempotency-key"], order))
        if order["version"] == 99:
            return 409, b'{"title": "conflict", "detail": "rollout r1 is still open"}'
        return 202, b'{"id": "r2"}'


@pytest.fixture
def api() -> Iterator[ControlPlane]:
    with ControlPlane().listening() as server:
        yield server


def test_a_proposal_is_posted_with_its_key(api: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--api", api.url, "--version", "2", "--steps", "5,100", "--policy", '{"alpha": 0.02}', "--key", "k1"]
    assert propose.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "r2"}
    body = {"model": "flight-delay", "version": 2, "strategy": "canary", "policy": {"alpha": 0.02}}
    assert api.asked == [("/api/v1/rollouts", "k1", {**body, "steps": [{"weight_pct": 5}, {"weight_pct": 100}]})]


def test_a_refusal_and_an_absent_control_plane_are_told(api: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    assert propose.main(["--api", api.url, "--version", "99"]) == 1
    assert "409: rollout r1 is still open" in capsys.readouterr().err
    assert propose.main(["--api", f"http://127.0.0.1:{free_port()}", "--version", "2"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
