"""docker-compose.yml brought up for real, and a model shipped through it: `make test-compose`.

Whatever images there are is used, under the names in docker-compose.yml or those that the environment gives (see .env.example). With
COMPOSE_STAND_INS, Prometheus and Alertmanager come from Debian's packages. Collector, Tempo and Grafana are left out unless
TEST_COMPOSE is `all`: nothing that is tested here needs them. Everything is removed afterwards.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.stack import ports

pytestmark = [
    pytest.mark.skipif("TEST_COMPOSE" not in os.environ, reason="takes minutes and Docker: make test-compose"),
    pytest.mark.timeout(1800),
]

ROOT = Path(__file__).parents[2]
MODEL = "flight-delay"
NEEDED = ("mlflow", "controlplane", "gateway", "prometheus", "alertmanager")
BUILD_S, UP_S, WAIT_S = 1200, 240, 120


def compose_command() -> list[str]:
    """The plugin of today, or the program that came before it."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            if subprocess.run([*command, "version"], capture_output=True, check=False, timeout=60).returncode == 0:
                return command
        except FileNotFoundError:
            continue
    return pytest.fail("neither `docker compose` nor `docker-compose` is installed")


class Stack:
    """The containers of one project, and what they publish on loopback."""

    def __init__(self, folder: Path) -> None:
        project, overrides = f"slipway-test-{secrets.token_hex(4)}", ["docker-compose.yml", "tests/compose/hook.yml"]
        if "COMPOSE_STAND_INS" in os.environ:
            overrides.append("tests/compose/stand-ins.yml")
        self._command = [*compose_command(), "-p", project, *(part for file in overrides for part in ("-f", file))]
        taken = ports.random_ports()
        self._environment = {**os.environ, **{f"SLIPWAY_{name.upper()}_PORT": str(port) for name, port in taken.items()}}
        self._environment["SLIPWAY_ALERT_TOKEN"] = self.token = secrets.token_urlsafe(16)
        entry = {"name": "hook", "url": "http://hook:8000/a-secret-part", "format": "json", "allow_http": True}
        folder.chmod(0o755)  # it is read by the container's own user
        (folder / "notify.yaml").write_text(json.dumps({"receivers": [entry]}))
        self._environment["NOTIFY_DIR"] = str(folder)
        self.services = (*NEEDED, "hook") if os.environ.get("TEST_COMPOSE") != "all" else ()
        # Docker's own proxy keeps connections open whose other end has died: none is used twice.
        self.http = httpx.Client(timeout=30, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        at = {name: f"http://127.0.0.1:{port}" for name, port in taken.items()}
        self.api, self.gateway, self.mlflow = f"{at['api']}/api/v1", at["ingress"], at["mlflow"]
        self.prometheus, self.alertmanager = at["prometheus"], at["alertmanager"]

    def run(self, *arguments: str, timeout_s: float = 120) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def inspect(self, service: str) -> dict[str, Any]:
        container = self.run("ps", "-q", service).strip()
        said = subprocess.run(["docker", "inspect", container], capture_output=True, text=True, check=True, timeout=60).stdout
        found: dict[str, Any] = json.loads(said)[0]
        return found

    def healthy(self, service: str) -> bool:
        state = self.inspect(service)["State"]
        assert state["Status"] == "running", f"{service}: {state}\n{self.run('logs', '--tail', '50', service)}"
        return bool(state["Health"]["Status"] == "healthy")

    # what people and clients ask

    def start(self, version: int, **spec: Any) -> str:
        answer = self.http.post(f"{self.api}/rollouts", json={"model": MODEL, "version": version, **spec})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def phase(self, rollout: str, *phases: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            now: dict[str, Any] = self.http.get(f"{self.api}/rollouts/{rollout}").raise_for_status().json()
            assert now["open"] or now["phase"] in phases, now
            return now if now["phase"] in phases else None

        found: dict[str, Any] = until(there)
        return found

    def predict(self) -> httpx.Response:
        return self.http.post(f"{self.gateway}/{MODEL}/predict", content=FLIGHT, headers={"Content-Type": "application/json"})

    def query(self, promql: str) -> dict[str, float]:
        """Value by version."""
        answer = self.http.get(f"{self.prometheus}/api/v1/query", params={"query": promql}).raise_for_status()
        return {one["metric"].get("model_version", ""): float(one["value"][1]) for one in answer.json()["data"]["result"]}

    @contextmanager
    def traffic(self) -> Iterator[list[tuple[int, str]]]:
        """Code and version of every answer to a steady client, while the block runs."""
        seen: list[tuple[int, str]] = []
        ended = threading.Event()

        def ask() -> None:
            with httpx.Client(timeout=20, trust_env=False) as http:
                while not ended.wait(0.02):
                    try:
                        answer = http.post(
                            f"{self.gateway}/{MODEL}/predict", content=FLIGHT, headers={"Content-Type": "application/json"}
                        )
                        seen.append((answer.status_code, answer.headers.get("x-model-version", "")))
                    except httpx.HTTPError as error:
                        seen.append((0, repr(error)))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join(30)


FLIGHT = (ROOT / "docs/example-flight.json").read_bytes()


def until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("notify"))
    try:
        made.run("build", *(("secrets", *NEEDED) if made.services else ()), timeout_s=BUILD_S)
        made.run("up", "-d", *made.services, timeout_s=UP_S)
        for service in NEEDED if made.services else (*NEEDED, "collector", "tempo", "grafana"):
            until(functools.partial(made.healthy, service), UP_S)
        yield made
    finally:
        made.http.close()
        made.run("down", "--volumes", "--timeout", "5", timeout_s=UP_S)


@pytest.fixture(scope="module")
def shipped(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Versions 1 and 2 are trained here and registered there; version 1 serves."""
    recipes = ("--recipe", "baseline", "--recipe", "retrained", "--registry", stack.mlflow)
    data = ("--data", str(tmp_path_factory.mktemp("data")))
    subprocess.run([sys.executable, "-m", "pipelines.train", *recipes, *data], cwd=ROOT, check=True, timeout=300)
    stack.phase(stack.start(1), "promoted")
    return stack


def test_every_part_is_healthy_and_nobody_is_root(stack: Stack) -> None:
    for service in NEEDED:
        assert stack.healthy(service)
        processes = stack.run(
            "exec", "-T", service, "sh", "-c", "for p in /proc/[0-9]*; do stat -c %u $p; done 2>/dev/null || true"
        )
        assert "0" not in processes.split(), service
        published = stack.inspect(service)["NetworkSettings"]["Ports"]
        assert {one["HostIp"] for bindings in published.values() for one in bindings or ()} == {"127.0.0.1"}


def test_a_model_is_shipped_and_answers_through_envoy(shipped: Stack) -> None:
    answer = shipped.predict()
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-model-version"] == "1"
    assert len(answer.json()["predictions"]) == 1


def test_a_switch_drops_no_request_and_moves_the_alias(shipped: Stack) -> None:
    with shipped.traffic() as seen:
        shipped.phase(shipped.start(2, strategy="blue-green", probation_s=2), "promoted")
        time.sleep(1)
    assert {code for code, _ in seen} == {200}, [one for one in seen if one[0] != 200][:5]
    assert {version for _, version in seen} == {"1", "2"}
    alias = shipped.http.get(
        f"{shipped.mlflow}/api/2.0/mlflow/registered-models/alias", params={"name": MODEL, "alias": "champion"}
    )
    assert alias.json()["model_version"]["version"] == "2"


def test_prometheus_sees_everybody(shipped: Stack) -> None:
    for _ in range(20):
        assert shipped.predict().status_code == 200
    until(lambda: shipped.query(f'slipway_split_requests_total{{model="{MODEL}"}}').get("2", 0) >= 20)
    until(lambda: shipped.query(f'sum by (model_version) (slipway_server_requests_total{{model="{MODEL}"}})').get("2", 0) >= 20)
    envoy = f'sum by (model_version) (envoy_cluster_upstream_rq_xx{{model="{MODEL}"}})'
    until(lambda: shipped.query(envoy).get("2", 0) >= 20)
    targets = shipped.http.get(f"{shipped.prometheus}/api/v1/targets").json()["data"]["activeTargets"]
    assert {one["labels"]["job"] for one in targets} == {
        *("slipway-controlplane", "slipway-gateway", "slipway-replica", "prometheus")
    }
    until(
        lambda: (
            {one["health"] for one in shipped.http.get(f"{shipped.prometheus}/api/v1/targets").json()["data"]["activeTargets"]}
            == {"up"}
        )
    )
    rules = shipped.http.get(f"{shipped.prometheus}/api/v1/rules").json()["data"]["groups"]
    assert rules
    assert {rule["lastError"] for group in rules for rule in group["rules"] if "lastError" in rule} <= {""}


def test_the_models_serve_on_when_the_control_plane_is_killed(shipped: Stack) -> None:
    before = shipped.inspect("controlplane")
    find = "for p in /proc/[0-9]*; do grep -qz '^controlplane.main$' $p/cmdline 2>/dev/null && echo ${p#/proc/}; done || true"
    with shipped.traffic() as seen:
        (pid,) = shipped.run("exec", "-T", "controlplane", "sh", "-c", find).split()
        shipped.run("exec", "-T", "controlplane", "sh", "-c", f"kill -9 {pid}")
        until(lambda: _other(shipped, find, pid))
        until(lambda: _ready(shipped))
        time.sleep(1)
    assert {code for code, _ in seen} == {200}, [one for one in seen if one[0] != 200][:5]
    assert shipped.inspect("controlplane")["State"]["StartedAt"] == before["State"]["StartedAt"], "the container stayed"


def _other(stack: Stack, find: str, pid: str) -> bool:
    return stack.run("exec", "-T", "controlplane", "sh", "-c", find).split() not in ([], [pid])


def _ready(stack: Stack) -> bool:
    try:
        return stack.http.get(f"{stack.api}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_an_alert_takes_a_challenger_back(shipped: Stack) -> None:
    steps = [{"weight_pct": 10, "requests": 1_000_000, "min_s": 3600}, 100]
    rollout = shipped.start(1, steps=steps)
    shipped.phase(rollout, "progressing")
    labels = {"alertname": "SlipwayVersionFails", "model": MODEL, "model_version": "1", "action": "rollback"}
    now = datetime.now(UTC).isoformat()  # noqa: TID251  Alertmanager has a real clock
    shipped.http.post(f"{shipped.alertmanager}/api/v2/alerts", json=[{"labels": labels, "startsAt": now}]).raise_for_status()
    shipped.phase(rollout, "rolled_back")
    events = shipped.http.get(f"{shipped.api}/rollouts/{rollout}/events").json()["events"]
    assert "alertmanager" in {event["actor"] for event in events}
    assert shipped.predict().headers["x-model-version"] == "2"


def test_somebody_is_told_of_it_all(shipped: Stack) -> None:
    def told() -> list[dict[str, Any]]:
        lines = shipped.run("logs", "--no-color", "hook").splitlines()
        return [json.loads(line[line.index("{") :]) for line in lines if "{" in line]

    until(lambda: [one["body"]["kind"] for one in told()].count("ended") == 3)
    ends = [one["body"] for one in told() if one["body"]["kind"] == "ended"]
    assert [(end["version"], end["data"]["phase"]) for end in ends] == [(1, "promoted"), (2, "promoted"), (1, "rolled_back")]


def test_prometheus_knows_its_alertmanager(shipped: Stack) -> None:
    known = shipped.http.get(f"{shipped.prometheus}/api/v1/alertmanagers").json()["data"]
    assert [one["url"] for one in known["activeAlertmanagers"]] == ["http://alertmanager:9093/api/v2/alerts"]


def test_every_process_leaves_its_log_to_the_collector(shipped: Stack) -> None:
    """The collector's user is the one who reads here, in the volumes that both mount."""

    def told(file: str) -> set[str]:
        lines = shipped.run("exec", "-T", "controlplane", "sh", "-c", f"cat /var/lib/slipway/{file}").splitlines()
        return {json.loads(line)["service"] for line in lines if line.startswith("{")}

    assert shipped.http.get(f"{shipped.gateway}/nobody/predict").status_code == 404
    until(lambda: told("logs/access.log") == {"slipway-gateway"})
    assert told("logs/envoy.log") == {"slipway-gateway"}
    assert told("logs/controlplane.log") == {"slipway-controlplane"}
    assert "slipway-bento" in told(f"runtime/{MODEL}/v*/replica-*/log.txt")
    assert told("logs/mlflow.log") <= {"mlflow"}  # it has no reason to say anything
    assert "slipway-gateway" in shipped.run("logs", "--no-color", "gateway"), "and to those who ask Docker"


def test_everything_is_remembered_when_the_containers_are_made_anew(shipped: Stack) -> None:
    shipped.run("rm", "--stop", "--force", "controlplane", "gateway", "mlflow", timeout_s=UP_S)
    shipped.run("up", "-d", *shipped.services, timeout_s=UP_S)
    until(functools.partial(shipped.healthy, "controlplane"), UP_S)

    def serves() -> bool:
        try:
            return bool(shipped.predict().headers.get("x-model-version") == "2")
        except httpx.HTTPError:
            return False

    until(serves)
    history = shipped.http.get(f"{shipped.api}/models/{MODEL}/history").json()["events"]
    assert [event["kind"] for event in history].count("ended") == 3


def test_no_secret_is_in_any_log(shipped: Stack) -> None:
    said = shipped.run("logs", "--no-color")
    assert shipped.token not in said
    assert "a-secret-part" not in said
