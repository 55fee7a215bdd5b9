"""Latencies of real Python model servers, calm and disturbed, healthy and regressed: the shapes on which the latency guard is tried.

    python bench/measure_latency.py [--seconds 30] [--out bench/judge/shapes.json]

Each server is a process of its own on the loopback, driven open loop (requests leave on time, whatever the answers do). What is kept
is the histogram in the judge's bins. Run it on a quiet machine; it takes about half a minute per server and disturbance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np

from judge import bins

RATE = 150.0
WARM_UP_S = 3.0
SERVERS = ("uvicorn", "aiohttp", "threads")
DISTURBANCES = {
    "calm": {},
    "calm again": {},
    "slow path 3 % + 6 ms": {"SLOW_PART": "0.03", "SLOW_S": "0.006"},
    "slow path 1 % + 30 ms": {"SLOW_PART": "0.01", "SLOW_S": "0.030"},
    "heavier model": {"TREES": "30"},
    "one more model call": {"CALLS": "2"},
    "garbage collection": {"GARBAGE": "1"},
    "lock held 2 % of the time": {"LOCK_S": "0.02"},
    "bigger answers": {"PADDING": "200000"},
    "busy neighbour": {"NEIGHBOUR": "1"},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--out", type=Path, default=Path("bench/judge/shapes.json"))
    chosen = arguments.parse_args()
    shapes = []
    for server in SERVERS:
        for name, settings in DISTURBANCES.items():
            latencies_us = measure(server, settings, chosen.seconds)
            found = np.bincount(bins.index_of(latencies_us), minlength=bins.BINS)
            counts = [[int(index), int(found[index])] for index in np.flatnonzero(found)]
            shapes.append({"server": server, "disturbance": name, "rate": RATE, "counts": counts})
            p50, p90, p99 = np.percentile(latencies_us, [50, 90, 99]) / 1000.0
            print(
                f"{server:8} {name:24} p50 {p50:6.2f} ms  p90 {p90:6.2f} ms  p99 {p99:6.2f} ms  n {len(latencies_us)}",
                flush=True,
            )
    chosen.out.write_text(json.dumps(shapes, separators=(",", ":")).replace('{"server"', '\n{"server"') + "\n")


def measure(server: str, settings: dict[str, str], seconds: float) -> np.ndarray:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **settings, "PORT": str(port), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "bench/latency_server.py", server], env=environment)
    stop = multiprocessing.Event()
    neighbour = multiprocessing.Process(target=_busy, args=(stop,), daemon=True) if "NEIGHBOUR" in settings else None
    try:
        _wait_for(port)
        if neighbour:
            neighbour.start()
        return asyncio.run(_drive(port, seconds))
    finally:
        stop.set()
        if neighbour:
            neighbour.join(timeout=5)
        process.terminate()
        process.wait(timeout=10)


def _busy(stop: multiprocessing.synchronize.Event) -> None:
    """Uses one core half of the time."""
    while not stop.is_set():
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass
        time.sleep(0.02)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server did not start within 30 s")


async def _drive(port: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    body = {"rows": rng.normal(size=(4, 12)).round(4).tolist()}
    latencies: list[tuple[float, float]] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as http:

        async def one() -> None:
            started = time.perf_counter()
            async with http.post(f"http://127.0.0.1:{port}/predict", json=body) as answer:
                await answer.read()
                answer.raise_for_status()
            latencies.append((started, (time.perf_counter() - started) * 1e6))

        begin, running = time.perf_counter(), set()
        due = begin
        while due < begin + WARM_UP_S + seconds:
            due += float(rng.exponential(1.0 / RATE))
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.wait_for(asyncio.gather(*running), timeout=30)
    return np.array([latency for started, latency in latencies if started >= begin + WARM_UP_S])


if __name__ == "__main__":
    main()
