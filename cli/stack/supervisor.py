"""Keeps child processes running: starts them, waits until each answers, restarts what dies, stops all within a bounded time.

Called by `stack.Stack`. Each child leads its own process group and session, so a Ctrl-C in the terminal reaches only us and we
decide the order. Touches only processes that it started itself, and never decides what a child is for.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

TICK_S = 0.05
PROBE_TIMEOUT_S = 3.0
BACKOFF_FIRST_S = 0.5
BACKOFF_LAST_S = 15.0
STEADY_S = 30.0  # a child that was ready this long starts again without back-off


# Our own questions are not worth a trace. And MLflow breaks if its first trace comes while it makes its database.
UNTRACED = f"00-{'0' * 31}1-{'0' * 15}1-00"


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # died, to be started again after a pause
    STOPPED = "stopped"


class StartFailed(Exception):
    """A child did not come up: it exited, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Child:
    """What to run, in which (whole) environment. `ready` is an address http://host:port/path that answers without a server error
    once the child does its work. One that is not `needed` may fail to come up: the others go on without it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready: str
    deadline_s: float
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a child; `sentence` is for people."""

    child: str
    state: State
    sentence: str


@dataclass(slots=True)
class _Run:
    """One child's present life. Guarded by the supervisor's lock."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    state: State = State.STOPPED
    since: float = 0.0  # monotonic; when the state began
    failures: int = 0
    was_ready: bool = False
    wanted: bool = True


class Supervisor:
    """All methods may be called from any thread; `tell` is called from the thread in which the change was noticed."""

    def __init__(self, children: Sequence[Child], tell: Callable[[Change], None]) -> None:
        self._runs = {child.name: _Run(child) for child in children}
        self._tell = tell
        self._lock = threading.RLock()
        self._quit = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Start all at once and return when all are ready, or not needed and given up. Raises StartFailed; the caller then
        calls `stop`."""
        # Always from the watching thread: Envoy asks the kernel to end it together with the *thread* that started it.
        for run in self._runs.values():
            run.state = State.WAITING
        self._thread = threading.Thread(target=self._watch, name="slipway-supervisor", daemon=True)
        self._thread.start()
        while not self._quit.wait(TICK_S):
            with self._lock:
                if self._failure is not None:
                    raise StartFailed(self._failure)
                if all(run.was_ready or not run.wanted for run in self._runs.values()):
                    return
            if cancelled is not None and cancelled.is_set():
                raise StartFailed("stopped while starting")

    def missing(self) -> frozenset[str]:
        """Children that never came up."""
        return frozenset(name for name, run in self._runs.items() if not run.was_ready and not run.wanted)

    def wait_ready(self, name: str, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._runs[name].state is State.READY:
                return True
            time.sleep(TICK_S)
        return False

    def pid(self, name: str) -> int | None:
        process = self._runs[name].process
        return process.pid if process is not None and process.returncode is None else None

    def pids(self) -> dict[str, int]:
        return {name: pid for name in self._runs if (pid := self.pid(name)) is not None}

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a child's whole process group; what follows is noticed like any other death."""
        with self._lock:
            run = self._runs[name]
            if run.process is not None and run.process.poll() is None:
                os.killpg(run.process.pid, number)

    def stop(self, name: str, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after the grace; the child stays down. Stopping twice, or what never was, does nothing."""
        with self._lock:
            run = self._runs.get(name)
            if run is None:
                return
            run.wanted = False
            process = run.process
            if process is not None and process.poll() is None:
                _signal_group(process.pid, signal.SIGTERM)
                # A frozen child cannot act on SIGTERM.
                _signal_group(process.pid, signal.SIGCONT)
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
            _sweep(process)
        with self._lock:
            if run.state is not State.STOPPED:
                self._enter(run, State.STOPPED, "stopped")

    def close(self) -> None:
        """End the watching thread. Call `stop` for every child first."""
        self._quit.set()
        if self._thread is not None:
            self._thread.join(PROBE_TIMEOUT_S * len(self._runs) + 1)

    def _watch(self) -> None:
        while not self._quit.wait(TICK_S):
            for run in self._runs.values():
                # Probing happens outside the lock: a slow child must not delay a stop.
                process, probing = run.process, run.state is State.STARTING
                answers = probing and _answers(run.child.ready)
                with self._lock:
                    if run.wanted and run.process is process:
                        self._tick(run, answers=answers)

    def _tick(self, run: _Run, *, answers: bool) -> None:
        now = time.monotonic()
        if run.state is State.WAITING:
            if now - run.since >= backoff_s(run.failures):
                self._spawn(run)
            return
        assert run.process is not None, "a child that is starting or ready has a process"
        code = run.process.poll()
        if code is not None:
            self._lost(run, _how_it_ended(code))
        elif run.state is State.STARTING and answers:
            took_s = now - run.since
            run.was_ready = True
            self._enter(run, State.READY, f"ready after {took_s:.1f} s")
        elif run.state is State.STARTING and now - run.since > run.child.deadline_s:
            self._lost(run, f"did not answer {run.child.ready} within {run.child.deadline_s:.0f} s")

    def _lost(self, run: _Run, how: str) -> None:
        if run.process is not None:
            _sweep(run.process)
        if not run.was_ready:
            # Never worked: trying again would only hide the reason.
            run.wanted = False
            if run.child.needed:
                self._failure = f"{run.child.name} did not come up: {how}. {_last_words(run.child.log)}"
            self._enter(run, State.STOPPED, how)
            return
        steady = run.state is State.READY and time.monotonic() - run.since >= STEADY_S
        run.failures = 0 if steady else run.failures + 1
        self._enter(run, State.WAITING, f"{how}; starting it again in {backoff_s(run.failures):.1f} s")

    def _spawn(self, run: _Run) -> None:
        child = run.child
        try:
            child.log.parent.mkdir(parents=True, exist_ok=True)
            with child.log.open("ab") as log:
                run.process = subprocess.Popen(
                    child.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=child.env,
                    start_new_session=True,
                )
        except OSError as error:
            self._lost(run, f"could not be started: {error}")
            return
        self._enter(run, State.STARTING, "starting" if not run.was_ready else "starting again")

    def _enter(self, run: _Run, state: State, sentence: str) -> None:
        run.state, run.since = state, time.monotonic()
        self._tell(Change(run.child.name, state, sentence))


def backoff_s(failures: int) -> float:
    return 0.0 if failures == 0 else min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10))


def _answers(address: str) -> bool:
    host_port, _, path = address.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host_port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", f"/{path}", headers={"traceparent": UNTRACED})
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of the child's group goes too: a worker that survives its parent would keep the port."""
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _last_words(log: Path, lines: int = 8) -> str:
    """The end of a log file, for the person who has to find out why."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            tail = file.read().decode(errors="replace").strip().splitlines()[-lines:]
    except OSError:
        tail = []
    if not tail:
        return f"Its log {log} is empty."
    return f"Its log {log} ends with:\n  " + "\n  ".join(tail)
