"""`<state_dir>/stack.json`: who runs the local stack and where it listens; and the lock that keeps a second one away.

Written by `stack.Stack`, read by `slipway down` and by every command that looks for the API. A process is recognised by its pid
*and* its creation time, so a recycled pid is never mistaken for ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "stack.json"
LOCK = "stack.lock"


class AlreadyUp(Exception):
    """A stack runs on this state directory."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this boot. `created` is its creation time in seconds since the epoch, as the system reports it."""

    pid: int
    created: float


@dataclass(frozen=True, slots=True)
class Record:
    launcher: Process
    addresses: Mapping[str, str]  # api, ingress, mlflow, envoy_admin, xds
    children: Mapping[str, Process]


def identify(pid: int) -> Process | None:
    """The process of this pid as it is now; None if there is none."""
    import psutil  # noqa: PLC0415  the commands that only look for the API need no process table

    try:
        return Process(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def alive(process: Process) -> bool:
    import psutil  # noqa: PLC0415  as above

    try:
        found = psutil.Process(process.pid)
        return abs(found.create_time() - process.created) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def write(state_dir: Path, record: Record) -> None:
    """Whole or not at all: readers never see half a file."""
    path = state_dir / FILE
    draft = path.with_suffix(".json.new")
    draft.write_text(json.dumps(asdict(record), indent=2) + "\n")
    draft.replace(path)


def read(state_dir: Path) -> Record | None:
    """None if there is none. A file that cannot be understood counts as none: it is only a convenience."""
    try:
        raw = json.loads((state_dir / FILE).read_text())
        return Record(
            launcher=Process(**raw["launcher"]),
            addresses=dict(raw["addresses"]),
            children={name: Process(**child) for name, child in raw["children"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remove(state_dir: Path) -> None:
    (state_dir / FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def held(state_dir: Path) -> Iterator[None]:
    """Hold the directory for one stack. The system lets go of it when this process ends, however it ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            record = read(state_dir)
            who = f" (process {record.launcher.pid}, API at {record.addresses.get('api', '?')})" if record else ""
            raise AlreadyUp(
                f"a stack is already up on {state_dir}{who}. Stop it with `slipway down --state-dir {state_dir}`, "
                "or give this one another --state-dir and --port-offset."
            ) from error
        yield
    finally:
        os.close(handle)
