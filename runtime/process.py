"""One replica as an operating system process: start, recognise, end.

A replica is the worker process that `bentoml serve` would start, without the supervisor process in front of it: half the memory, two
seconds less, and a crash shows at once as a refused connection, where a supervisor keeps the socket open and lets callers hang.
It listens on a socket that is opened here, so no port can be taken between choosing and using it. It has its own session, so neither
the end of the control plane nor Ctrl-C in its terminal reaches it.

A process is known by the token in its environment, never by its number alone: numbers are used again. Nothing else is ever signalled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from . import record

LOOPBACK = "127.0.0.1"
TOKEN = "SLIPWAY_REPLICA"  # noqa: S105 - the name of a variable; its value is no secret
KILLED_S = 5.0  # how long a killed process may take to be gone
KEEP_ALIVE_S = (
    4000  # longer than a gateway keeps idle connections (Envoy: one hour), so a replica never closes one under a request
)
LOG_BYTES = 20 * 1024 * 1024  # per file, two files
# what a replica inherits; everything else (credentials among it) stays out
INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHONPATH",
)
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **QUIET, **extra}


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket, handed to one replica."""

    sock: socket.socket
    port: int


def listen(host: str = LOOPBACK) -> Listener:
    """Bound, not yet listening: until the replica is up, connections are refused. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return Listener(sock, sock.getsockname()[1])


def start(bento: Path, folder: Path, listener: Listener, token: str, extra: Mapping[str, str]) -> int:
    """The process id. Blocks for milliseconds. Raises OSError."""
    metrics, home = folder / "metrics", folder / "home"
    shutil.rmtree(metrics, ignore_errors=True)  # the counters of an earlier life
    for made in (metrics, home):
        made.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    if log.exists():
        log.replace(folder / "log.1.txt")
    environment = clean_environment(
        {
            **extra,
            TOKEN: token,
            # replicas that share one of these two wipe each other's metrics
            "BENTOML_HOME": str(home),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            # many small models on few cores: each thread pool of its own only makes them fight
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
    )
    fd = listener.sock.fileno()
    command = [sys.executable, "-m", "_bentoml_impl.worker.service", str(bento), "--fd", str(fd), "--worker-id", "1"]
    command += ["--timeout-keep-alive", str(KEEP_ALIVE_S)]
    with log.open("ab") as out:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=(fd,),
            start_new_session=True,
        )
    # for an instant after the start the kernel shows no environment yet, and nobody must take the replica for dead
    for _ in range(1000):
        if _carries(started.pid, token) or psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.001)
    # it shall outlive this object, and `alive` reaps it: without this, Popen would warn and keep it in a global list
    started.returncode = 0
    return started.pid


def alive(replica: record.Replica) -> bool:
    """Is this very process running? Reaps it if it was our child and has ended."""
    if replica.pid is None:
        return False
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(replica.pid, os.WNOHANG)[0] == replica.pid:
            return False
    return _carries(replica.pid, replica.token)


def _carries(pid: int, token: str) -> bool:
    try:
        return psutil.Process(pid).environ().get(TOKEN) == token
    except (psutil.Error, OSError):  # gone, a zombie, or somebody else's
        return False


def created(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def find(token: str) -> int | None:
    """The process that was started with this token, if a crash came before its number was written down."""
    for pid in psutil.pids():
        if _carries(pid, token):
            # a model may have started processes that inherited the token: the replica is the leader of the session
            with contextlib.suppress(OSError):
                return os.getsid(pid)
    return None


def gone(replica: record.Replica) -> bool:
    """A quick look between two real ones: True if it surely ended. A zombie of somebody else's, or a number used again, is
    only seen by `alive`."""
    if replica.pid is None:
        return True
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(replica.pid, os.WNOHANG)[0] == replica.pid
    return not psutil.pid_exists(replica.pid)


async def end(replica: record.Replica, drain_s: float) -> None:
    """Let it finish what it is doing for at most drain_s, then kill it and all that it started. Never touches a stranger."""
    if replica.pid is None:
        replica = replace(replica, pid=await asyncio.to_thread(find, replica.token))
    ours = replica.pid is not None and alive(replica)
    if replica.pid is not None and ours:
        if drain_s > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(replica.pid, signal.SIGTERM)  # the server stops listening and finishes its requests
            await _wait(replica, drain_s)
        if alive(replica):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(replica.pid, signal.SIGKILL)
            await _wait(replica, KILLED_S)
    if replica.pid is not None:
        await _reap(replica.pid, KILLED_S if ours else 0.2)
    await asyncio.to_thread(sweep, replica.token)


async def _reap(pid: int, limit_s: float) -> None:
    """A process loses its environment, by which `alive` knows it, a moment before it can be reaped."""
    for _ in range(round(limit_s / 0.01)):
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:  # noqa: ASYNC222 - it does not wait
                return
        except ChildProcessError:  # not ours to reap: an earlier control plane started it
            return
        await asyncio.sleep(0.01)


async def _wait(replica: record.Replica, limit_s: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    while alive(replica) and loop.time() < until:  # noqa: ASYNC110 - another process's end is no event of this loop
        await asyncio.sleep(0.02)


def sweep(token: str) -> None:
    """Kill what a dead replica left behind: processes of its own that carry its token."""
    for pid in psutil.pids():
        if _carries(pid, token):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def tail(folder: Path, lines: int = 6) -> str:
    """The last words of a replica, for people."""
    try:
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return "no log"
    last = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return " | ".join(last)[-800:] or "the log is empty"


def trim(folder: Path) -> None:
    """Keep the log of a running replica within its limit; it is open for appending, so it goes on at the start."""
    log = folder / "log.txt"
    try:
        if log.stat().st_size > LOG_BYTES:
            shutil.copyfile(log, folder / "log.1.txt")
            os.truncate(log, 0)
    except OSError:
        return  # the disk may be full or read-only: serving goes on
