"""Every command against the real API, loop and judge, run in a thread by uvicorn over the in-memory twins of the outside.

The test plays the traffic: it counts requests on the gateway's twin.
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from cli import main
from cli.exits import Exit
from cli.stack.ports import free_port
from controlplane import observe, passes, traffic
from controlplane.api import app as api
from controlplane.api import services
from controlplane.broadcast import Broadcast
from controlplane.history import History
from controlplane.loop import Loop
from controlplane.store import memory as stores
from controlplane.store.memory_past import MemoryPast
from gateway import memory as gateways
from registry import memory as registries
from rollout import model
from runtime import memory as runtimes
from tests.waiting import poll

FAST = ("--steps", "5:20,50:20,100", "--probation", "0s")


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  the test is a shell


class Plane:
    """A control plane in a thread. Its twins may only be touched by way of `call`, in its own event loop."""

    def __init__(self) -> None:
        self.port = free_port()
        self._up = threading.Event()
        self._thread: threading.Thread | None = None
        self._ids = (f"r-{number:04}" for number in itertools.count(1))
        self.store = stores.MemoryStore()
        self.registry = registries.MemoryRegistry(now)
        for _ in range(4):
            self.registry.add("flight-delay", description="trained on spring data")
        self.registry.add("flight-delay", files={})  # version 5 has no signature
        self.gateway = gateways.MemoryGateway()
        self.runtime = runtimes.MemoryRuntime()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._up.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._up.wait(20)

    def stop(self) -> None:
        if self._thread is not None:
            self._server.should_exit = True
            self.call(self._changes.close)
            self._thread.join(20)
            self._thread = None

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        async def run() -> Any:
            found = function(*arguments, **keywords)
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def count(self, version: int, requests: int, errors: int = 0) -> None:
        self.call(self.gateway.count, "flight-delay", version, requests, errors, latency_us=5000.0)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changes = Broadcast()
        meter = traffic.TrafficMeter()
        outside = observe.Ports(self.store, self.registry, self.gateway, self.runtime)
        looks = passes.Passes(
            outside,
            clock=now,
            changes=self._changes,
            meter=meter,
            history=History(MemoryPast()),
            tick_s=0.05,
            observe_timeout_s=2.0,
            drain_s=0.0,
        )
        loop = Loop(outside, looks)
        parts = services.Services(
            store=self.store,
            registry=self.registry,
            gateway=self.gateway,
            runtime=self.runtime,
            wake=loop.wake,
            clock=now,
            new_id=lambda: next(self._ids),
            traffic=meter.traffic,
            latency=meter.latency,
            changes=self._changes,
            version="0",
        )
        self._server = uvicorn.Server(
            uvicorn.Config(api.create_app(parts), port=self.port, log_config=None, timeout_graceful_shutdown=2)
        )
        await loop.restore()
        await loop.startup()
        with socket.create_server(("127.0.0.1", self.port)) as listener:
            self._up.set()  # who connects now waits in the backlog
            await self._server.serve(sockets=[listener])
        await loop.shutdown(5)


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    made = Plane()
    made.start()
    monkeypatch.setenv("SLIPWAY_API", made.url)
    monkeypatch.setenv("SLIPWAY_ACTOR", "anna")
    monkeypatch.setenv("COLUMNS", "120")
    try:
        yield made
    finally:
        made.stop()


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, list(arguments))


def answer(*arguments: str) -> Any:
    """JSON of a command that must work."""
    result = slipway(*arguments, "-o", "json")
    assert result.exit_code == Exit.OK, result.output
    return json.loads(result.stdout)


def ship_first() -> None:
    """Version 3 becomes the champion."""
    answer("start", "flight-delay", "3", "--probation", "0s")
    ended = answer("status", "flight-delay", "--until", "terminal", "--timeout", "20s")
    assert ended["phase"] == "promoted"


def on_step(weight_pct: int) -> None:
    poll(lambda: (step := answer("status", "flight-delay")["step"]) and step["weight_pct"] == weight_pct and step["since"])


def test_a_good_version_is_shipped_from_the_command_line(plane: Plane) -> None:
    ship_first()
    planned = slipway("plan", "flight-delay", "4", *FAST[:2])
    assert planned.exit_code == Exit.CONFLICT
    assert "No traffic was seen on flight-delay lately" in planned.stdout
    started = answer("start", "flight-delay", "4", *FAST, "--note", "spring")
    assert (started["actor"], started["note"], started["phase"]) == ("anna", "spring", "queued")
    on_step(5)
    plane.count(3, 19000)
    plane.count(4, 1000)
    on_step(50)
    plane.count(3, 5000)
    plane.count(4, 5000)
    ended = slipway("status", "flight-delay", "--until", "terminal", "--timeout", "20s")
    assert ended.exit_code == Exit.OK, ended.output
    assert "promoted  flight-delay v3 → v4" in ended.stdout
    listed = slipway("models")
    assert "flight-delay  v4" in listed.stdout
    shown = slipway("models", "flight-delay")
    assert "champion v4, before it v3" in shown.stdout
    assert "no signature: it cannot be rolled out" in shown.stdout


def test_a_bad_version_is_rolled_back_and_every_view_says_why(plane: Plane) -> None:
    ship_first()
    answer("start", "flight-delay", "4", *FAST)
    on_step(5)
    plane.count(3, 19000, 100)
    plane.count(4, 1000, 400)
    ended = slipway("status", "flight-delay", "--until", "terminal", "--timeout", "20s")
    assert ended.exit_code == Exit.ROLLED_BACK, ended.output
    assert "rolled back" in ended.stdout
    for command in ("explain", "history"):
        assert "version 4" in slipway(command, "flight-delay").stdout
    events = [json.loads(line) for line in slipway("history", "flight-delay", "-o", "json").stdout.splitlines()]
    assert events[0]["kind"] == "created"
    assert events[-1]["kind"] == "ended"
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert len(slipway("history", "flight-delay", "-o", "json", "-n", "2").stdout.splitlines()) == 2
    again = answer("retry", "flight-delay", "--reason", "fixed the weather")
    assert again["retry_of"] == ended_id(events)
    aborted = answer("abort", "flight-delay")
    assert aborted["requests"]["abort"]["actor"] == "anna"


def ended_id(events: list[Any]) -> str:
    return str(events[-1]["rollout_id"])


def test_a_person_pauses_resumes_promotes_and_undoes(plane: Plane) -> None:
    ship_first()
    rollout = answer("start", "flight-delay", "4", "--steps", "5:20,100", "--probation", "10m")
    on_step(5)
    answer("pause", "flight-delay", "--reason", "lunch")
    held = answer("status", rollout["id"], "--until", "paused", "--timeout", "10s")
    assert held["holds"][0]["reason"] == "paused"
    assert slipway("status", rollout["id"]).exit_code == Exit.HELD
    assert "flight-delay" in slipway("status").stdout, "without a target: every open rollout"
    answer("resume", "flight-delay")
    answer("status", rollout["id"], "--until", "progressing", "--timeout", "10s")
    answer("promote", "flight-delay", "-r", "seen enough")
    poll(lambda: answer("status", rollout["id"])["phase"] == "probation")
    waited = slipway("status", rollout["id"], "--until", "terminal", "--timeout", "300ms")
    assert waited.exit_code == Exit.TIMEOUT
    assert "is not terminal after 0.3 s" in waited.stderr
    answer("undo", "flight-delay", "-r", "wrong after all")
    assert slipway("status", rollout["id"], "--until", "terminal", "--timeout", "10s").exit_code == Exit.ROLLED_BACK


def test_blue_green_and_undo_after_the_end_begin_a_new_rollout(plane: Plane) -> None:
    ship_first()
    answer("start", "flight-delay", "4", "--strategy", "blue-green", "--probation", "0s")
    first = answer("status", "flight-delay", "--until", "terminal", "--timeout", "10s")
    assert first["phase"] == "promoted"
    undone = slipway("undo", "flight-delay")
    assert "undo: a new rollout began" in undone.stdout
    last = answer("status", "flight-delay", "--until", "terminal", "--timeout", "10s")
    assert (last["version"], last["undo_of"]) == (3, first["id"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("status", "nothing"), Exit.NOT_FOUND, "there is no rollout 'nothing', and no model of that name has had one"),
        (("models", "nothing"), Exit.NOT_FOUND, "there is no registered model nothing"),
        (("start", "flight-delay", "99"), Exit.NOT_FOUND, "has no version 99"),
        (("start", "flight-delay", "5"), None, "signature"),
        (("start", "flight-delay", "3", "--steps", "5,1"), Exit.USAGE, "steps: weights must rise"),
        (("start", "flight-delay", "3", "--steps", "x"), Exit.USAGE, "'x' is not a step"),
        (("start", "flight-delay", "3", "--probation", "soon"), Exit.USAGE, "--probation: 'soon' is not a duration"),
        (("start", "flight-delay", "3", "--policy", "/nowhere.yaml"), Exit.USAGE, "--policy: /nowhere.yaml cannot be read"),
        (("status", "--until", "terminal"), Exit.USAGE, "--until needs a rollout or a model"),
        (("start", "flight-delay"), Exit.USAGE, "Missing argument"),
        (("start", "flight-delay", "three"), Exit.USAGE, "Invalid value for 'VERSION'"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(plane: Plane, arguments: tuple[str, ...], code: Exit | None, said: str) -> None:
    result = slipway(*arguments)
    assert said in result.stderr
    assert result.exit_code == code if code is not None else result.exit_code in (Exit.USAGE, Exit.CONFLICT)
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_policy_file_is_used_and_its_mistakes_are_named(plane: Plane, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    plane.call(plane.gateway.answer, model.Ack.NOT_YET)  # it waits for the gateway, so that it can be aborted
    file.write_text("alpha: 0.02\non_blind: roll_back\nerror_rate:\n  margin_ratio: 1.5\n")
    rollout = answer("start", "flight-delay", "3", "--policy", str(file))
    rules = answer("explain", rollout["id"])["policy"]
    assert (rules["alpha"], rules["on_blind"], rules["error_rate"]["margin_ratio"]) == (0.02, "roll_back", 1.5)
    answer("abort", rollout["id"])
    file.write_text("alhpa: 0.02\n")
    refused = slipway("start", "flight-delay", "3", "--policy", str(file))
    assert refused.exit_code == Exit.USAGE
    assert "policy.alhpa" in refused.stderr


def test_a_second_rollout_is_refused_and_the_open_one_named(plane: Plane) -> None:
    plane.call(plane.gateway.answer, model.Ack.NOT_YET)
    first = answer("start", "flight-delay", "3")
    second = slipway("start", "flight-delay", "4")
    assert second.exit_code == Exit.CONFLICT
    assert f"see `slipway status {first['id']}`" in second.stderr


def test_a_control_plane_that_is_away_is_said_with_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_API", f"http://127.0.0.1:{free_port()}")
    result = slipway("models")
    assert result.exit_code == Exit.UNREACHABLE
    assert "start it with `slipway up`" in result.stderr
    monkeypatch.setenv("SLIPWAY_API", "localhost:8700")
    assert slipway("models").exit_code == Exit.USAGE


def test_somebody_else_on_the_port_is_recognised(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_API", f"{plane.url}/nowhere")
    result = slipway("models")
    assert result.exit_code in (Exit.UNREACHABLE, Exit.NOT_FOUND)
    assert "Traceback" not in result.output


def test_a_lost_answer_is_asked_for_again_under_the_same_key(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that hands the first POST through and then cuts the connection without its answer."""
    with _cutting_proxy(plane.port) as port:
        monkeypatch.setenv("SLIPWAY_API", f"http://127.0.0.1:{port}")
        rollout = answer("start", "flight-delay", "3")
    monkeypatch.setenv("SLIPWAY_API", plane.url)
    listed = plane.call(plane.store.rollouts)
    assert [each.id for each in listed] == [rollout["id"]]


def _message(peer: socket.socket) -> bytes:
    """One whole request or answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
    while len(body) < length:
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def _cutting_proxy(target: int) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            for attempt in itertools.count():
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client, socket.create_connection(("127.0.0.1", target)) as upstream:
                    upstream.sendall(_message(client))
                    reply = _message(upstream)
                    if attempt > 0:
                        client.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


class TestWatch:
    def test_lines_until_the_end_and_the_outcome_as_exit_code(self, plane: Plane) -> None:
        ship_first()
        answer("start", "flight-delay", "4", *FAST)
        on_step(5)
        plane.count(3, 19000, 100)
        plane.count(4, 1000, 400)
        watched = slipway("watch", "flight-delay")
        assert watched.exit_code == Exit.ROLLED_BACK
        lines = watched.stdout.splitlines()
        assert "rolled back" in lines[-1]
        assert len(set(lines)) == len(lines)

    def test_json_is_one_message_a_line_up_to_the_end(self, plane: Plane) -> None:
        watched = slipway("start", "flight-delay", "3", "--probation", "0s", "--watch", "-o", "json")
        assert watched.exit_code == Exit.OK
        messages = [json.loads(line) for line in watched.stdout.splitlines()]
        assert messages[0]["event"] == "state"
        assert messages[-1] == {"event": "end", "data": {"outcome": "promoted"}}
        assert {"state", "event", "end"} == {message["event"] for message in messages}
        facts = [message["data"]["seq"] for message in messages if message["event"] == "event"]
        assert facts == sorted(set(facts))

    def test_it_survives_a_restart_of_the_control_plane(self, plane: Plane) -> None:
        ship_first()
        rollout = answer("start", "flight-delay", "4", *FAST)
        on_step(5)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            [sys.executable, "-c", "from cli.main import app; app()", "watch", rollout["id"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as watching:
            assert watching.stdout is not None
            assert watching.stderr is not None
            assert "step 1 of 3" in watching.stdout.readline()
            plane.stop()
            assert "connection lost, trying again" in watching.stderr.readline()
            plane.start()
            plane.count(3, 19000, 100)
            plane.count(4, 1000, 400)
            said = watching.stdout.read()
            assert "rolled back" in said.splitlines()[-1]
            assert watching.wait(20) == Exit.ROLLED_BACK


def test_the_tab_key_knows_models_and_rollouts(plane: Plane) -> None:
    rollout = answer("start", "flight-delay", "3")
    found = subprocess.run(
        [sys.executable, "-c", "from cli.main import app; app(prog_name='slipway')"],
        env={**os.environ, "_SLIPWAY_COMPLETE": "complete_bash", "COMP_WORDS": "slipway abort ", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert found.stdout.split() == ["flight-delay", rollout["id"]]


def test_help_names_every_command_and_exit_code() -> None:
    said = slipway("--help").stdout
    for command in [
        "up",
        "down",
        "models",
        "plan",
        "start",
        "status",
        "watch",
        "promote",
        "pause",
        "resume",
        "abort",
        "retry",
        "undo",
    ]:
        assert f"\n  {command} " in said
    assert "10  the rollout is rolled back" in said
