"""Latencies of real Python model servers, healthy and regressed: the shapes on which the latency guard is tried.

    python bench/measure_latency.py SERVER [--seconds 40] [--out bench/judge/measured/SERVER.json]

As in a canary, a calm server and a disturbed one answer at the same time, so whatever else the machine does meets both. Each is a process
of its own on the loopback, driven open loop: requests leave on time, whatever the answers do. What is kept is the
histogram in the judge's bins. The disturbance "none" is the same server twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np

from cli.stack.ports import free_port
from judge import bins

RATES = {"bentoml": 60.0}  # requests a second to each of the two,
RATE = 150.0  # if not told otherwise: what this machine answers without queueing
WARM_UP_S = 4.0
HERE = Path(__file__).parent
SERVERS = ("aiohttp", "fastapi", "threads", "bentoml")
DISTURBANCES = {
    "none": {},
    "slow path: 3 % + 6 ms": {"SLOW_PART": "0.03", "SLOW_S": "0.006"},
    "slow path: 1 % + 30 ms": {"SLOW_PART": "0.01", "SLOW_S": "0.030"},
    "garbage collection": {"GARBAGE": "1"},
    "one more model call": {"CALLS": "2"},
    "cold cache: 4 % need 4 more calls": {"MISS_PART": "0.04", "MISS_CALLS": "4"},
    "lock held 2 % of the time": {"LOCK_S": "0.02"},
    "background work": {"BACKGROUND": "1"},
    "feature look-up: + 0.3 ms on average": {"LOOKUP_S": "0.0003"},
    "retried query: 0.5 % + 100 ms": {"SLOW_PART": "0.005", "SLOW_S": "0.1"},
    "bigger answers": {"PADDING": "60000"},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("server", choices=SERVERS)
    arguments.add_argument("--seconds", type=float, default=40.0)
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    pairs = []
    for name, settings in DISTURBANCES.items():
        pair = [
            np.bincount(bins.index_of(found), minlength=bins.BINS) for found in measure(chosen.server, settings, chosen.seconds)
        ]
        champion, challenger = ([[int(at), int(counts[at])] for at in np.flatnonzero(counts)] for counts in pair)
        pairs.append({"disturbance": name, "champion": champion, "challenger": challenger})
        print(f"{chosen.server:8} {name:36}", *(_read(counts) for counts in pair), sep="  |  ", flush=True)
    out = chosen.out or HERE / "judge" / "shapes" / f"{chosen.server}.json"
    text = json.dumps({"server": chosen.server, "rate": RATES.get(chosen.server, RATE), "pairs": pairs}, separators=(",", ":"))
    out.write_text(text.replace('{"disturbance"', '\n{"disturbance"') + "\n")


def _read(counts: np.ndarray) -> str:
    below = np.cumsum(counts)
    at = np.searchsorted(below, np.array([0.25, 0.5, 0.9, 0.99, 0.999]) * below[-1])
    return "p25 p50 p90 p99 p99.9 ms" + "".join(f" {ms:7.2f}" for ms in bins.lower_us()[at] / 1000.0) + f"  n {below[-1]}"


def measure(server: str, settings: dict[str, str], seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds of the calm server's answers and of the disturbed one's."""
    processes, ports = [], []
    try:
        for disturbance in ({}, settings):
            ports.append(free_port())
            processes.append(_start(server, ports[-1], disturbance))
        for port in ports:
            _wait_for(port)
        return asyncio.run(_drive(ports, RATES.get(server, RATE), seconds))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def _start(server: str, port: int, disturbance: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **disturbance, "PORT": str(port), "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "latency_server.py", server]
    if server == "bentoml":
        command = [sys.executable, "-m", "bentoml", "serve", "latency_bento:Model", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen(command, env=environment, cwd=HERE, stdout=subprocess.DEVNULL)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server did not start within a minute")


async def _drive(ports: list[int], rate: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Both get Poisson arrivals, mixed at random."""
    rng = np.random.default_rng(1)
    body = {"rows": rng.normal(size=(4, 12)).round(4).tolist()}
    found: list[list[float]] = [[], []]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128)) as http:
        begin = time.perf_counter()

        async def one(arm: int) -> None:
            started = time.perf_counter()
            async with http.post(f"http://127.0.0.1:{ports[arm]}/predict", json=body) as answer:
                await answer.read()
                answer.raise_for_status()
            if started >= begin + WARM_UP_S:
                found[arm].append((time.perf_counter() - started) * 1e6)

        due = begin
        async with asyncio.timeout(WARM_UP_S + seconds + 30.0), asyncio.TaskGroup() as running:
            while due < begin + WARM_UP_S + seconds:
                due += float(rng.exponential(0.5 / rate))
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                running.create_task(one(int(rng.integers(2))))
    return np.array(found[0]), np.array(found[1])


if __name__ == "__main__":
    main()
