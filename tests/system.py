"""The whole real system for tests/e2e, tests/fault and tests/integration: MLflow, control plane, Envoy, replicas, and clients that keep asking.

Started once per test module that wants it, on random ports and in a folder of its own. When the module is over everything is
stopped; a process that is left over fails the module, and so does a defect of ours that the control plane logged. Other tests
do not pay for it: the imports are late.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import mlflow_server
from tests.programs import needed
from tests.waiting import DEADLINE_S, POLL_S, poll

if TYPE_CHECKING:
    import httpx

    from cli.stack import stack
    from pipelines import replay, tally

FAST = {"SLIPWAY_TICK_S": "0.2", "SLIPWAY_DRAIN_S": "1", "SLIPWAY_REQUEST_TIMEOUT_S": "5"}


class Clients:
    """What steady clients were answered, as it happens. Ours are the failures that no version answered itself."""

    def __init__(self) -> None:
        self.records: list[tally.Record] = []

    @property
    def ours(self) -> list[tally.Record]:
        return [one for one in self.records if one.outcome.value in ("gateway_or_transport", "unsent")]

    def answered_by(self, version: int, since: float = 0.0) -> list[tally.Record]:
        """Those due after `since` (seconds since 1970)."""
        return [one for one in self.records if one.version == version and one.at >= since]

    def count(self, outcome: str) -> int:
        return sum(one.outcome.value == outcome for one in self.records)


class System:
    """Talks to it as people and clients do: HTTP to the API and to the gateway, REST to MLflow, signals to processes."""

    def __init__(self, local: stack.Stack, http: httpx.Client) -> None:
        self.stack = local
        self.http = http
        self.api = f"{local.addresses['api']}/api/v1"
        self.gateway = local.addresses["ingress"]
        self.mlflow = local.addresses["mlflow"]

    # what people ask

    def start(self, model: str, version: int, **spec: Any) -> str:
        answer = self.http.post(f"{self.api}/rollouts", json={"model": model, "version": version, **spec})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def with_champion(self, model: str, files: Mapping[str, bytes], versions: int = 2) -> System:
        """Once there are so many versions of these files, and the first one serves."""
        numbers = range(1, versions + 1)
        assert [self.register(model, files) for _ in numbers] == [*numbers]
        self.phase(self.start(model, 1, probation_s=0), "promoted")
        return self

    def ask(self, rollout_id: str, verb: str, reason: str = "") -> httpx.Response:
        return self.http.post(
            f"{self.api}/rollouts/{rollout_id}/{verb}", json={"reason": reason}, headers={"X-Slipway-Actor": "ann"}
        )

    def rollout(self, rollout_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"{self.api}/rollouts/{rollout_id}").raise_for_status().json()
        return found

    def until(self, rollout_id: str, holds: Callable[[dict[str, Any]], bool], timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The rollout once it is so. The control plane may be away meanwhile, and a rollout that ends otherwise ends the wait."""
        import httpx  # noqa: PLC0415  see the module's docstring

        deadline, now = time.monotonic() + timeout_s, {"phase": "unknown", "open": True}
        while True:
            try:
                now = self.rollout(rollout_id)
            except httpx.TransportError:
                now["open"] = True
            if holds(now):
                return now
            assert now["open"], now
            assert time.monotonic() < deadline, now
            time.sleep(POLL_S)

    def phase(self, rollout_id: str, *phases: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        return self.until(rollout_id, lambda now: now["phase"] in phases, timeout_s)

    def held(self, rollout_id: str, reason: str) -> dict[str, Any]:
        return self.until(rollout_id, lambda now: reason in [hold["reason"] for hold in now["holds"]])

    def released(self, rollout_id: str) -> dict[str, Any]:
        return self.until(rollout_id, lambda now: not now["holds"])

    def events(self, rollout_id: str, kind: str | None = None) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.api}/rollouts/{rollout_id}/events").raise_for_status().json()
        return [event for event in answer["events"] if kind in (None, event["kind"])]

    def split(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"{self.api}/models/{model}/split").raise_for_status().json()
        return found

    def deployments(self, model: str) -> dict[int, dict[str, Any]]:
        answer = self.http.get(f"{self.api}/models/{model}").raise_for_status().json()
        return {one["version"]: one for one in answer["deployments"]}

    # what clients ask

    def predict(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(f"{self.gateway}/{path}", json=body)

    @contextmanager
    def clients(self, model: str, bodies: Sequence[bytes], rate: float = 60.0) -> Iterator[Clients]:
        """Steady clients, one request each at random times, while the block runs. What is under way at its end is awaited."""
        from pipelines import replay  # noqa: PLC0415  see the module's docstring

        seen = Clients()
        running: list[tuple[asyncio.AbstractEventLoop, replay.Replay]] = []
        begun = threading.Event()

        async def go() -> None:
            plan = replay.Plan(url=f"{self.gateway}/{model}/predict", rate=rate, timeout_s=10.0)
            one = replay.Replay(
                plan,
                itertools.cycle(bodies),
                clock=lambda: datetime.now(UTC),  # noqa: TID251  the clients' own clock
                watch=seen.records.append,
            )
            running.append((asyncio.get_running_loop(), one))
            begun.set()
            await one.run()

        thread = threading.Thread(target=lambda: asyncio.run(go()), name="clients")
        thread.start()
        assert begun.wait(10)
        try:
            yield seen
        finally:
            loop, one = running[0]
            loop.call_soon_threadsafe(one.stop)
            thread.join(30)
            assert not thread.is_alive(), "the clients did not end"

    # what MLflow knows, asked past slipway

    def register(self, model: str, files: Mapping[str, bytes]) -> int:
        return mlflow_server.register(self.http, self.mlflow, model, files)

    def alias(self, model: str, alias: str = "champion") -> int | None:
        answer = self.http.get(
            f"{self.mlflow}/api/2.0/mlflow/registered-models/alias", params={"name": model, "alias": alias}, timeout=20
        )
        return int(answer.json()["model_version"]["version"]) if answer.status_code == 200 else None

    # what goes on in the machine

    def replicas(self, model: str, version: int) -> list[int]:
        """Process ids, as the runtime wrote them down."""
        from runtime import record  # noqa: PLC0415  see the module's docstring

        file = record.path(self.stack.config.state_dir / "runtime", model, version)
        return [one.pid for one in record.read(file).replicas if one.pid is not None] if file.exists() else []

    def kill(self, part: str) -> int:
        """SIGKILL to one part; it is started again. Returns the process id that it had."""
        pid = self.stack.pids()[part]
        self.stack.kill(part)
        return pid

    def back(self, part: str, killed: int) -> None:
        """Returns once another process of this part answers."""
        poll(lambda: self.stack.pids().get(part, killed) != killed)
        assert self.stack.wait_ready(part, DEADLINE_S)


def _processes_of(folder: Path) -> list[str]:
    """Every process that has this folder among its arguments or in its environment."""
    import psutil  # noqa: PLC0415  see the module's docstring

    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(f"{process.pid}: {' '.join(process.cmdline())}")
    return found


@contextmanager
def running_system(
    folder: Path, *, prometheus: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[System]:
    """`environment`: for the control plane alone, and the replicas that it starts."""
    import httpx  # noqa: PLC0415  see the module's docstring

    from cli.stack import config, ports, stack  # noqa: PLC0415  see the module's docstring

    own = {**FAST, **(environment or {})}
    chosen = config.Config(folder, ports.random_ports(), prometheus=prometheus, environment=own)
    local = stack.Stack(chosen)
    with local.running(), httpx.Client(timeout=30, trust_env=False) as http:
        yield System(local, http)
    poll(lambda: not _processes_of(folder), 30)  # a busy machine ends its processes late
    errors = [line for line in (folder / "logs" / "controlplane.log").read_text().splitlines() if '"level":"error"' in line]
    assert [line for line in errors if "Unavailable" not in line] == []  # a full disk is told so


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[System]:
    """A module that says `WATCHED = True` has a Prometheus in it too, and its `SETTINGS` are in the environment that all parts are started in."""
    watched = needed("prometheus") if getattr(request.module, "WATCHED", False) else None
    folder = tmp_path_factory.mktemp("system") / ".slipway"  # hidden, as the default is
    with pytest.MonkeyPatch.context() as environment:
        for name, value in getattr(request.module, "SETTINGS", {}).items():
            environment.setenv(name, value)
        with running_system(folder, prometheus=watched) as running:
            yield running
