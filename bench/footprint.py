"""What a running stack holds: processes, listening ports, file descriptors, memory, files. And whether it holds ever more.

Used by `bench_cycles` after each cycle. A leak is what is still there when all is as it was before, or grows with every cycle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

MIB = 2**20
FEW = 5  # samples whose median is compared at both ends
SPARE_FDS = 10  # connections come and go
SPARE_FILES = 5  # journals of databases too
GROWTH_MIB = 50.0  # of memory in 100 cycles, by the slope over the later half
ENOUGH = 20  # samples from which a slope says anything


@dataclass(frozen=True, slots=True)
class Process:
    rss_mib: float
    fds: int
    threads: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one moment. `parts` are the stack's own processes by name; the totals cover their descendants too."""

    parts: Mapping[str, Process]
    processes: int
    listening: int
    fds: int
    rss_mib: float
    files: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def take(pids: Mapping[str, int], state_dir: Path) -> Footprint:
    """`pids`: the stack's own processes. Logs and the history in databases may grow: of files only the number is judged."""
    found = family(pids)
    each = {process.pid: _process(process) for process in found}
    files = [path for path in state_dir.rglob("*") if path.is_file()]
    return Footprint(
        parts={name: each[pid] for name, pid in pids.items()},
        processes=len(each),
        listening=len(listening(found)),
        fds=sum(one.fds for one in each.values()),
        rss_mib=sum(one.rss_mib for one in each.values()),
        files=len(files),
        bytes=sum(_size(path) for path in files),
    )


def family(pids: Mapping[str, int]) -> list[psutil.Process]:
    """The stack's processes and all their descendants, replicas among them."""
    roots = [psutil.Process(pid) for pid in pids.values()]
    found = {process.pid: process for root in roots for process in (root, *root.children(recursive=True))}
    return [process for process in found.values() if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def listening(processes: Sequence[psutil.Process]) -> set[int]:
    ports: set[int] = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            ports |= {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    return ports


def leaks(samples: Sequence[Footprint]) -> list[str]:
    """In words; empty if all is as it was. Needs samples taken when nothing was under way."""
    first, last = samples[0], samples[-1]
    found = [
        f"{getattr(last, name) - getattr(first, name)} more {name} than after the warm-up"
        for name, spare in (("processes", 0), ("listening", 0), ("files", SPARE_FILES))
        if getattr(last, name) > getattr(first, name) + spare
    ]
    for part in first.parts:
        fds = [sample.parts[part].fds for sample in samples]
        if median(fds[-FEW:]) > median(fds[:FEW]) + SPARE_FDS:
            found.append(f"{part} holds {median(fds[-FEW:])} file descriptors, {median(fds[:FEW])} before")
        growth = growth_mib(samples, part)
        if len(samples) >= ENOUGH and growth > GROWTH_MIB:
            found.append(f"the memory of {part} grows by {growth:.0f} MiB in 100 cycles")
    return found


def growth_mib(samples: Sequence[Footprint], part: str) -> float:
    """In 100 cycles: the median slope between all pairs of the later half, which no single outlier moves."""
    rss = np.array([sample.parts[part].rss_mib for sample in samples[len(samples) // 2 :]])
    if len(rss) < 2:
        return 0.0
    one, other = np.triu_indices(len(rss), k=1)
    return float(np.median((rss[other] - rss[one]) / (other - one))) * 100


def _process(process: psutil.Process) -> Process:
    with contextlib.suppress(psutil.NoSuchProcess):
        return Process(round(process.memory_info().rss / MIB, 1), process.num_fds(), process.num_threads())
    return Process(0.0, 0, 0)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
