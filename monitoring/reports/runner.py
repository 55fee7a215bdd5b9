"""Runs one report in a process of its own, which may take so long and so much memory, and says how it ended. Blocks: call it in a thread.

Nothing that Evidently does reaches the caller but a `Result`: raising, hanging, running out of memory and crashing are outcomes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .child import ERROR, FAILED, MEMORY
from .outcome import RESULT, End, Job, Result

POLL_S = 0.25
ENDED = (End.DONE, End.TOO_FEW_ROWS, End.NO_REFERENCE, End.OTHER_SCHEMA, End.LOG_AWAY)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Limits:
    """memory_mb: of data, in megabytes. Resident were 356 MB with 5000 rows of 20 columns, 494 MB with 100 000."""

    memory_mb: int = 2048
    seconds: float = 300.0


def run(
    job: Job, limits: Limits, *, step: Callable[[str], None] = lambda _: None, cancel: threading.Event | None = None
) -> Result:
    """`into` holds report.html and evidently.json if it is done. `cancel` ends it from another thread."""
    order = job.into / "job.json"
    order.write_text(json.dumps(job.to_json()))
    quiet = {"DO_NOT_TRACK": "1", "MPLBACKEND": "Agg", **dict.fromkeys(THREADS, "1")}
    with (
        (job.into / "said.txt").open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "monitoring.reports.child", str(order)],
            env={**os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        bytes_ = limits.memory_mb << 20
        with contextlib.suppress(ProcessLookupError):  # it may be over already
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (bytes_, bytes_))
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)  # those who serve come first
        late = not _follow(process, limits.seconds, step, cancel)
        if late:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return _ended(job, limits, process.returncode, late=late)


def _follow(
    process: subprocess.Popen[bytes], seconds: float, step: Callable[[str], None], cancel: threading.Event | None
) -> bool:
    """Tell its steps until it ends. False: its time is up."""
    end = time.monotonic() + seconds
    out = process.stdout
    assert out is not None
    with selectors.DefaultSelector() as ready:
        ready.register(out, selectors.EVENT_READ)
        while process.poll() is None:
            left = end - time.monotonic()
            if left <= 0 or (cancel is not None and cancel.is_set()):
                return False
            if ready.select(min(POLL_S, left)):
                chunk = os.read(out.fileno(), 4096)
                if not chunk:  # it closed its output: nothing more to tell, but perhaps not over
                    ready.unregister(out)
                    ready.register(process_end := os.pidfd_open(process.pid), selectors.EVENT_READ)
                    ready.select(max(0.0, left))
                    os.close(process_end)
                    return process.poll() is not None
                for line in chunk.decode(errors="replace").splitlines():
                    step(line)
    return True


def _ended(job: Job, limits: Limits, code: int, *, late: bool) -> Result:
    try:
        found = Result.from_json(json.loads((job.into / RESULT).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        found = Result(End.FAILED)
    if late:
        return replace(found, end=End.LATE, reason=f"it was not done within {limits.seconds:g} s")
    if code == 0 and found.end in ENDED:
        return found
    error = _text(job, ERROR)
    # what C++ does when an allocation fails: abort; what the kernel does: kill
    if code == MEMORY or code in (-signal.SIGKILL, -signal.SIGABRT) or "allocate memory" in error or "bad_alloc" in error:
        return replace(found, end=End.OUT_OF_MEMORY, reason=f"it needed more than {limits.memory_mb} MB")
    if code == FAILED and error:
        return replace(found, end=End.FAILED, reason=error)
    last = ([*_text(job, "said.txt").splitlines()] or ["it said nothing"])[-1]
    kind = End.OUT_OF_MEMORY if "MemoryError" in last or "bad_alloc" in last else End.FAILED
    return replace(found, end=kind, reason=f"its process ended with {code}: {last}"[:500])


def _text(job: Job, name: str) -> str:
    try:
        return (job.into / name).read_bytes()[-4000:].decode(errors="replace")
    except OSError:
        return ""
