"""Two sides measured in turn, `off`, `on`, `on`, `off`, ...: what one is to the other. Used by benchmarks whose machine is not quiet."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from scipy import stats

from bench import report

OFF, ON = "off", "on"


class Block(Protocol):
    """One stretch of full load: which side had it, its requests per second, and CPU µs a request."""

    @property
    def arm(self) -> str: ...

    @property
    def per_s(self) -> float: ...

    @property
    def cpu_us(self) -> float: ...


A = TypeVar("A")  # a side
B = TypeVar("B", bound=Block)


class Asker:
    """`telemetry.ask` in a process of its own. Closed at the end of the `async with`."""

    def __init__(self, path: str, body: Path, *options: object) -> None:
        self._command = (sys.executable, "-m", "bench.telemetry.ask", "--path", path, "--body", str(body), *map(str, options))

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def ask(self, port: int, seconds: float) -> dict[str, Any]:
        """What it tells of one stretch of full load."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{port} {seconds}\n".encode())
        told: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return told


def cpu_s(pid: int) -> float:
    """Of a process so far, threads that ended included: Linux' clock of its CPU time, which is exact where /proc counts hundredths of a second."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes its number


async def in_turn(off: A, on: A, pairs: int, measure: Callable[[A], Awaitable[B]]) -> list[B]:
    blocks: list[B] = []
    for number in range(pairs):
        turn = (off, on) if number % 2 == 0 else (on, off)
        first, second = [await measure(arm) for arm in turn]
        blocks += (first, second)
        report.console.print(
            f"pair {number + 1}: {first.arm} {first.per_s:.0f}/s {first.cpu_us:.0f} µs, "
            f"{second.arm} {second.per_s:.0f}/s {second.cpu_us:.0f} µs",
            highlight=False,
        )
    return blocks


def compared(rounds: Sequence[Sequence[Any]], quantity: str) -> dict[str, Any]:
    """`on` over `off`: the ratio with its 95 % interval (Student's, of the logarithms). A block has `arm` and the quantity.

    Of several rounds, each with processes of its own, the interval is that of their means: how a process happens to lie in memory makes two that are the same
    differ by two percent, which no number of blocks of one pair of processes tells. Of one round it is that of its pairs of neighbours, and tells of those processes.
    """
    logs = []
    for blocks in rounds:
        pairs = [{one.arm: getattr(one, quantity) for one in pair} for pair in zip(blocks[::2], blocks[1::2], strict=True)]
        logs.append([math.log(both[ON] / both[OFF]) for both in pairs])
    means = logs[0] if len(logs) == 1 else [float(np.mean(one)) for one in logs]
    mean, half = float(np.mean(means)), 0.0
    if len(means) > 1:
        half = float(stats.t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / math.sqrt(len(means)))
    sides = {
        arm: float(np.median([getattr(one, quantity) for blocks in rounds for one in blocks if one.arm == arm]))
        for arm in (OFF, ON)
    }
    return {**sides, "ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def show(title: str, found: Mapping[str, Mapping[str, float]], digits: str) -> None:
    """`digits`: the format of the medians."""
    lines = [
        (
            name,
            format(row[OFF], digits),
            format(row[ON], digits),
            f"{row['ratio']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
        )
        for name, row in found.items()
    ]
    report.grid(title, ("median", "without", "with", "ratio", "95 % interval"), lines)
