"""`slipway up` and `slipway down` with the real MLflow, Envoy and control plane: started once, killed in every way."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cli.exits import Exit
from cli.stack import config, ports, record, stack
from runtime import process
from runtime import record as runtime_record
from tests.waiting import poll

# Without cached bytecode MLflow alone takes most of a minute to import on two busy cores.
START_S = 150.0

pytestmark = pytest.mark.timeout(300)


def slipway(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", "from cli.main import app; app()", *arguments],
        env={**os.environ, "SLIPWAY_STATE_DIR": str(state_dir), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def up(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """The command itself, in a directory that has nothing to do with it. Everything is gone afterwards, whatever a test did."""
    elsewhere = state_dir.parent
    (elsewhere / "controlplane").mkdir()  # must not be taken for ours
    (elsewhere / "controlplane" / "__init__.py").write_text("raise ImportError('the wrong one')")
    out = (state_dir.parent / "up.txt").open("w")
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-c", "from cli.main import app; app()", "up", "--random-ports", "--wait", f"{START_S}s"],
        env={**os.environ, "SLIPWAY_STATE_DIR": str(state_dir)},
        cwd=elsewhere,
        stdout=out,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield launcher
    finally:
        slipway(state_dir, "down")
        with suppress(subprocess.TimeoutExpired):
            launcher.wait(10)
        launcher.kill()
        launcher.wait()
        out.close()


def said(state_dir: Path) -> str:
    return (state_dir.parent / "up.txt").read_text()


def known(state_dir: Path) -> record.Record:
    found = record.read(state_dir)
    assert found is not None
    return found


def families(found: record.Record) -> list[psutil.Process]:
    """The children with all that they started themselves."""
    parents = [psutil.Process(child.pid) for child in found.children.values()]
    return parents + [one for parent in parents for one in parent.children(recursive=True)]


def test_the_stack_comes_up_heals_and_leaves_nothing_even_when_its_launcher_is_killed(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with up(state_dir) as launcher:
        poll(lambda: "Ctrl-C stops everything" in said(state_dir) or launcher.poll() is not None, START_S)
        assert launcher.poll() is None, said(state_dir)
        addresses = known(state_dir).addresses
        for name in ("api", "ingress", "mlflow", "envoy_admin"):
            assert addresses[name] in said(state_dir)
        _everything_answers(addresses)
        _commands_find_it(state_dir)
        _a_second_one_is_refused(state_dir)
        for part in ("controlplane", "envoy"):
            _comes_back(state_dir, part)
        _everything_answers(addresses)

        left = families(known(state_dir))
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
        stopped = slipway(state_dir, "down")
        assert stopped.returncode == Exit.OK
        # Envoy has itself ended by the kernel when its parent dies.
        assert "stopped what was left of it: mlflow, controlplane" in stopped.stdout
        poll(lambda: not any(one.is_running() for one in left), 10)
        assert record.read(state_dir) is None
        assert "nothing runs on" in slipway(state_dir, "down").stdout


def _everything_answers(addresses: Any) -> None:
    # MLflow takes its time for its first question.
    poll(lambda: '"away"' not in httpx.get(f"{addresses['api']}/readyz", timeout=10).text, 20)
    # Envoy has its configuration from the control plane, with no model in it yet.
    assert httpx.get(f"{addresses['ingress']}/nothing/predict").status_code == 404


def _commands_find_it(state_dir: Path) -> None:
    listed = slipway(state_dir, "models", "-o", "json")
    assert listed.returncode == Exit.OK, listed.stderr
    assert json.loads(listed.stdout) == {"models": [], "registry": None}


def _a_second_one_is_refused(state_dir: Path) -> None:
    second = slipway(state_dir, "up", "--random-ports")
    assert second.returncode == Exit.CONFLICT
    assert f"a stack is already up on {state_dir}" in second.stderr
    assert "slipway down" in second.stderr


def _comes_back(state_dir: Path, part: str) -> None:
    before = known(state_dir).children[part]
    os.kill(before.pid, signal.SIGKILL)
    poll(lambda: known(state_dir).children.get(part, before) != before, 20)
    poll(
        lambda: re.search(
            rf"{part}: was killed by SIGKILL; starting it again.*{part}: ready after", said(state_dir), re.DOTALL
        ),
        60,
    )


@pytest.mark.parametrize("how", ["ctrl-c", "down"])
def test_a_stack_that_is_still_starting_can_be_stopped(tmp_path: Path, how: str) -> None:
    state_dir = tmp_path / "state"
    with up(state_dir) as launcher:
        poll(lambda: (found := record.read(state_dir)) and len(found.children) >= 3, 30)
        left = families(known(state_dir))
        if how == "ctrl-c":
            launcher.send_signal(signal.SIGINT)
        else:
            stopped = slipway(state_dir, "down")
            assert "stopped the stack" in stopped.stdout, stopped.stdout + stopped.stderr
        assert launcher.wait(40) == Exit.OK, said(state_dir)
        poll(lambda: not any(one.is_running() for one in left), 10)
        assert record.read(state_dir) is None
        assert "Traceback" not in said(state_dir)


def test_a_taken_port_stops_nothing_and_starts_nothing(tmp_path: Path) -> None:
    chosen = ports.random_ports()
    with socket.create_server(("127.0.0.1", chosen.ingress)):
        local = stack.Stack(config.Config(tmp_path, chosen))
        with pytest.raises(
            ports.PortTaken, match=f"port {chosen.ingress} for ingress is taken by process {os.getpid()} .*--ingress-port"
        ):
            local.start()
    assert local.pids() == {}
    with record.held(tmp_path):
        pass  # the directory was let go of


def test_a_state_directory_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = slipway(tmp_path / "file" / "state", "up", "--random-ports")
    assert refused.returncode == Exit.USAGE
    assert "cannot be used: Not a directory (choose another with --state-dir)" in refused.stderr


def test_down_stops_noted_replicas_and_never_a_stranger(tmp_path: Path) -> None:
    """A replica is known by the token in its environment: a process that merely has its number is somebody else's."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        subprocess.Popen(sleeper, env={**os.environ, process.TOKEN: "ours"}, start_new_session=True) as replica,
        subprocess.Popen(sleeper, env={**os.environ, process.TOKEN: "another"}, start_new_session=True) as stranger,
    ):
        noted = (
            runtime_record.Replica(0, "ours", 1, replica.pid, process.created(replica.pid)),
            runtime_record.Replica(1, "gone long ago", 2, stranger.pid, 1.0),
        )
        file = runtime_record.path(tmp_path / "runtime", "flight-delay", 3)
        runtime_record.write(file, runtime_record.Record("flight-delay", 3, 2, noted, proven=True))
        try:
            poll(lambda: process.alive(noted[0]), 5)  # its environment is there once it has been executed
            stopped = slipway(tmp_path, "down")
            assert stopped.stdout == "stopped 1 model replica\n", stopped.stderr
            assert replica.wait(5) == -signal.SIGTERM
            assert stranger.poll() is None
        finally:
            replica.kill()
            stranger.kill()
