"""Stops what outlives a launcher: replicas (which survive on purpose) and the children of an `up` that was killed.

Called by `Stack` and by `slipway down`. A child is only ever signalled if its pid and creation time are the recorded
ones, a replica only if it carries its token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from runtime import process
from runtime import record as runtime_record

from . import record

REPLICAS = "replicas"
POLL_S = 0.05


def stop_children(state_dir: Path, grace_s: float) -> tuple[str, ...]:
    """Children that a killed launcher left behind; returns their names."""
    found = record.read(state_dir)
    if found is None:
        return ()
    left = {name: child for name, child in found.children.items() if record.alive(child)}
    for child in left.values():
        _signal(child, signal.SIGTERM)
    _wait_gone(tuple(left.values()), grace_s)
    for child in left.values():
        _signal(child, signal.SIGKILL)
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


def stop_replicas(state_dir: Path, grace_s: float) -> int:
    """All replicas that the runtime has noted, with whatever they started; returns how many ran. The notes stay: the next
    control plane decides what to start again. Only call when no control plane runs, or it starts them again at once."""
    noted = tuple(_noted(state_dir / "runtime"))
    running = sum(process.alive(replica) for replica in noted)

    async def end() -> None:
        await asyncio.gather(*(process.end(replica, grace_s) for replica in noted))

    asyncio.run(end())
    return running


def _noted(folder: Path) -> Iterator[runtime_record.Replica]:
    for file in sorted(folder.glob("*/v*/state.json")):
        try:
            noted = runtime_record.read(file)
        except (OSError, ValueError):
            continue  # the runtime sets such a file aside and says so
        yield from noted.replicas


def _signal(child: record.Process, number: signal.Signals) -> None:
    """To the whole group: every child of ours leads one."""
    if record.alive(child):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)


def _wait_gone(processes: tuple[record.Process, ...], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(record.alive(one) for one in processes):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True
