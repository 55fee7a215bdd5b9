"""The real Alertmanager with the configuration we ship: an alert reaches the API at once, and takes the challenger back once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn

from cli.stack import ports
from controlplane import broadcast
from controlplane.api import app, services
from controlplane.store.memory import MemoryStore
from gateway.memory import MemoryGateway
from monitoring import server
from registry.memory import MemoryRegistry
from rollout import commands, model
from runtime.memory import MemoryRuntime
from tests.programs import needed

HOST = "127.0.0.1"
TOKEN = "a token that nobody guesses"
AT_ONCE_S = 5.0  # from the alert until the abort is stored; Alertmanager's default would wait 30 s


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  Alertmanager has a real clock


@pytest.fixture
def taken() -> ports.Ports:
    return ports.random_ports()


@pytest.fixture
def config(taken: ports.Ports, tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(TOKEN + "\n")
    made = tmp_path / "alertmanager.yml"
    made.write_text(server.render_alertmanager(api=f"{HOST}:{taken.api}", token_file=tmp_path / "token"))
    return made


@pytest.fixture
async def store(taken: ports.Ports) -> AsyncIterator[MemoryStore]:
    """Of an API that listens; version 2 of `delay` is on trial in it."""
    kept, numbers = MemoryStore(), itertools.count(1)
    registry = MemoryRegistry(now)
    parts = services.Services(
        store=kept,
        registry=registry,
        gateway=MemoryGateway(),
        runtime=MemoryRuntime(),
        wake=lambda _: None,
        clock=now,
        new_id=lambda: f"r{next(numbers)}",
        traffic=lambda _: services.ObservedSplit(reason="not counted yet"),
        latency=lambda *_: (),
        changes=broadcast.Broadcast(),
        version="0",
        alert_token=TOKEN,
    )
    going = commands.new_rollout(model.Spec(model="delay", version=2, champion=1), "r1", now() - timedelta(minutes=1))
    await kept.create(replace(going, status=replace(going.status, phase=model.Phase.PROGRESSING, had_traffic=True)), [])
    api = uvicorn.Server(uvicorn.Config(app.create_app(parts), host=HOST, port=taken.api, log_config=None))
    serving = asyncio.create_task(api.serve())
    yield kept
    api.should_exit = True
    await serving
    await registry.close()


@pytest.fixture
async def alertmanager(taken: ports.Ports, config: Path, tmp_path: Path) -> AsyncIterator[str]:
    program, address = needed(*server.ALERTMANAGERS, install=server.INSTALL_ALERTMANAGER), f"{HOST}:{taken.prometheus}"
    options = [
        f"--config.file={config}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen([program, *options], stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"http://{address}/-/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
        yield f"http://{address}"
    finally:
        running.terminate()
        running.wait(10)


async def raised(alertmanager: str, **labels: str) -> None:
    """As Prometheus does it."""
    named = {"alertname": "SlipwayVersionFails", "model": "delay", "severity": "critical", "action": "rollback", **labels}
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{alertmanager}/api/v2/alerts", json=[{"labels": named, "startsAt": now().isoformat()}])
    assert answer.status_code == 200, answer.text


def test_amtool_accepts_the_configuration(config: Path) -> None:
    amtool = needed("amtool", install=server.INSTALL_ALERTMANAGER)
    done = subprocess.run([amtool, "check-config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_an_alert_takes_the_challenger_back_at_once_and_once(alertmanager: str, store: MemoryStore) -> None:
    began = time.monotonic()
    await raised(alertmanager, model_version="2")
    abort = None
    async with asyncio.timeout(20):
        while abort is None:
            abort = (await store.rollout("r1")).requests.abort
            await asyncio.sleep(0.02)
    assert time.monotonic() - began < AT_ONCE_S
    assert abort.actor == "alertmanager"
    await raised(alertmanager, model_version="2")
    await raised(alertmanager, model_version="1")
    async with asyncio.timeout(20):
        while len(said := [stored.event.sentence for stored in await store.events(rollout_id="r1")]) < 2:
            await asyncio.sleep(0.02)
    assert len([one for one in said if "asked to abort" in one]) == 1
    assert "not about the version on trial" in said[-1]


async def test_an_alert_that_asks_for_nothing_does_not_even_arrive(alertmanager: str, store: MemoryStore) -> None:
    await raised(alertmanager, model_version="2", action="")
    await raised(alertmanager, model_version="1")  # this one does, and comes after
    async with asyncio.timeout(20):
        while not await store.events(rollout_id="r1"):
            await asyncio.sleep(0.02)
    assert (await store.rollout("r1")).requests.abort is None
