"""Model or traffic? Real bentos behind a real Envoy: the guard holds the version that answers otherwise, and no other, whatever the traffic does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from cli.stack.ports import free_port
from controlplane.broadcast import Broadcast
from controlplane.clock import SteadyClock
from controlplane.history import History
from controlplane.observe import Ports
from controlplane.passes import Passes
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_past import MemoryPast
from controlplane.traffic import TrafficMeter
from gateway import adapter, bootstrap
from gateway import process as envoys
from gateway.settings import Settings
from judge.policy import Policy, PredictionShiftGuard
from monitoring.answers import HttpAnswers
from registry.memory import MemoryRegistry
from rollout import commands, model, replay
from runtime import process
from runtime.memory import MemoryRuntime

SERVICE = Path(__file__).parents[2] / "bentos" / "mlflow_model"
NAME = "weather"
DEADLINE_S = 100.0
POLICY = Policy(latency=None, prediction_shift=PredictionShiftGuard(margin_pct=20.0))
# run apart: importing MLflow takes seconds and leaves warnings behind
SAVE = """
import sys
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

chance = np.random.default_rng(1)
rows = pd.DataFrame({"temp": chance.normal(10, 5, 3000), "wind": chance.exponential(size=3000)})
noise = chance.normal(size=3000)
for version, limit in ((1, 10), (2, 10), (3, 13)):
    model = LogisticRegression().fit(rows, rows["temp"] + 2 * noise > limit)
    mlflow.sklearn.save_model(
        model, f"{sys.argv[1]}/v{version}", signature=infer_signature(rows, model.predict_proba(rows)),
        pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle", pip_requirements=["scikit-learn"],
    )
"""


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, str]]:
    """Addresses by version. Versions 1 and 2 learned the same, version 3 something else."""
    folder = tmp_path_factory.mktemp("shift")
    quiet = {**os.environ, **process.QUIET, "PYTHONPATH": str(SERVICE.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(folder)], env=quiet, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
    program = str(Path(sys.executable).parent / "bentoml")
    with contextlib.ExitStack() as stack:
        addresses, running = {}, {}
        for version in (1, 2, 3):
            port, log = free_port(), stack.enter_context((folder / f"log{version}").open("wb"))
            wish = {"BENTOML_HOME": str(folder / f"home{version}"), "SLIPWAY_MODEL_DIR": str(folder / f"v{version}")}
            server = subprocess.Popen(
                [program, "serve", str(SERVICE), "--host", "127.0.0.1", "--port", str(port)],
                env=process.clean_environment(wish),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(server.wait, 20)
            stack.callback(server.terminate)
            addresses[version], running[version] = f"127.0.0.1:{port}", server
        until = time.monotonic() + 90
        for version, address in addresses.items():
            while not ready(address):
                assert running[version].poll() is None, (folder / f"log{version}").read_text()
                assert time.monotonic() < until, (folder / f"log{version}").read_text()
                time.sleep(0.05)
        yield addresses


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=5):
            return True
    except OSError:
        return False


class Placed(MemoryRuntime):
    """Replicas that run already."""

    def __init__(self, addresses: dict[int, str]) -> None:
        super().__init__()
        self._addresses = addresses

    async def deployments(self, model_name: str) -> tuple[model.Deployment, ...]:
        ready_now = model.DeploymentState.READY
        return tuple(model.Deployment(model_name, v, ready_now, 1, (at,)) for v, at in self._addresses.items())


@dataclass
class Site:
    """A control plane's pass over real replicas and a real gateway; the registry and the store are in memory."""

    passes: Passes
    store: MemoryStore
    http: aiohttp.ClientSession
    base: str
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    async def rollout(self) -> model.Rollout:
        return await self.store.rollout("r1")

    async def send(self, requests: int, temp: float) -> None:
        """Some of them have more than one row."""
        turns = asyncio.Semaphore(16)

        async def one(first: float, wind: float, rows: int) -> None:
            data = [[first, wind], *([[temp - 30.0, 0.0]] * rows)]
            body = json.dumps({"dataframe_split": {"columns": ["temp", "wind"], "data": data}})
            async with turns, self.http.post(self.base, data=body, headers={"content-type": "application/json"}) as answer:
                assert answer.status == 200, await answer.text()

        draws = zip(
            self.chance.normal(temp, 5, requests).tolist(),
            self.chance.exponential(size=requests).tolist(),
            self.chance.integers(0, 3, requests).tolist(),
            strict=True,
        )
        await asyncio.gather(*(one(*each) for each in draws))


@contextlib.asynccontextmanager
async def site(tmp_path: Path, bentos: dict[int, str], challenger: int, *, epoch: int) -> AsyncIterator[Site]:
    """A canary of this version against version 1, at half of the traffic, under the epoch after this one."""
    ads_port, admin_port, settings = free_port(), free_port(), Settings(port=free_port())
    gateway = adapter.EnvoyGateway(ads_host="127.0.0.1", ads_port=ads_port, settings=settings, on_change=lambda _: None)
    config = tmp_path / "envoy.json"
    config.write_text(bootstrap.render("edge", ads=f"127.0.0.1:{ads_port}", admin=f"127.0.0.1:{admin_port}"), encoding="utf-8")
    async with contextlib.AsyncExitStack() as stack:
        answers = HttpAnswers(read_s=5.0)  # this machine may be busy
        stack.push_async_callback(answers.close)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        clock, store = SteadyClock(), MemoryStore()
        registry = MemoryRegistry(clock)
        stack.push_async_callback(registry.close)
        runtime = Placed({version: bentos[version] for version in (1, challenger)})
        passes = Passes(
            Ports(store, registry, gateway, runtime, answers),
            history=History(MemoryPast()),
            clock=clock,
            changes=Broadcast(),
            meter=TrafficMeter(),
            tick_s=0.1,
            observe_timeout_s=10.0,
            drain_s=0.0,
        )
        record = model.ModelRecord(NAME, champion=1, split=model.Split.of({1: 100}), epoch=epoch)
        await store.save(None, record, ())
        steps = (model.Step(50, requests=10), model.Step(100))
        spec = model.Spec(NAME, challenger, 1, steps=steps, probation_s=0.0, policy=POLICY)
        await store.create(commands.new_rollout(spec, "r1", clock()), ())
        envoy = await asyncio.create_subprocess_exec(*envoys.argv(config, log_path=tmp_path / "envoy.log"))
        stack.push_async_callback(envoy.wait)
        stack.callback(envoy.kill)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        made = Site(passes, store, http, f"http://127.0.0.1:{settings.port}/{NAME}/predict")
        async with asyncio.timeout(DEADLINE_S):
            while (await made.rollout()).status.step_since is None:
                await passes.run(NAME, asyncio.Event())
                await asyncio.sleep(0.02)
        yield made


async def pinned(address: str, requests: int) -> None:
    """Somebody looks at the version itself, always with the same row."""
    body: Any = json.dumps({"dataframe_split": {"columns": ["temp", "wind"], "data": [[40.0, 0.0]]}})
    async with aiohttp.ClientSession() as http:
        for _ in range(requests):
            async with http.post(
                f"http://{address}/predict", data=body, headers={"content-type": "application/json"}
            ) as answer:
                assert answer.status == 200


async def test_a_version_that_answers_otherwise_is_held_with_a_reason(tmp_path: Path, bentos: dict[int, str]) -> None:
    async with site(tmp_path, bentos, 3, epoch=1) as made, asyncio.timeout(DEADLINE_S):
        while not (await made.rollout()).status.holds:
            await made.send(200, 10.0)
            await made.passes.run(NAME, asyncio.Event())
        held = await made.rollout()
        assert (held.status.phase, held.status.holds[0].reason) == (model.Phase.PROGRESSING, model.HoldReason.GUARD_HOLDS)
        assert "Version 3 answers otherwise" in held.status.holds[0].detail
        assert "of its answers are above 0." in held.status.holds[0].detail
        assert replay.replay(held, await made.store.readings(held.id)).same


async def test_two_that_learned_the_same_are_not_held_while_the_traffic_drifts(tmp_path: Path, bentos: dict[int, str]) -> None:
    sent = 0
    async with site(tmp_path, bentos, 2, epoch=10) as made, asyncio.timeout(DEADLINE_S):
        await pinned(bentos[2], 100)
        while (await made.rollout()).status.phase is model.Phase.PROGRESSING:
            sent += 200
            await made.send(200, 4.0 + sent / 200)  # a degree warmer each time
            await made.passes.run(NAME, asyncio.Event())
            assert not (await made.rollout()).status.holds
        ended = await made.rollout()
        assert ended.status.phase is model.Phase.PROMOTING
        assert ended.status.judge is not None
        counted = [sum(many for _, many in arm.answers) for arm in (ended.status.judge.champion, ended.status.judge.challenger)]
        assert sum(counted) <= sent, "one answer a request, and none of those that were asked of the version itself"
        assert sum(counted) >= sent / 2
