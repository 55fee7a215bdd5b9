"""Ship and go back, a hundred times, under constant traffic, with the real stack: is a request lost, is anything left behind?

    python bench/bench_cycles.py --cycles 100 --rate 100

MLflow, control plane, Envoy and bentos of a small scikit-learn model. In turn: a canary that the judge promotes and that is undone
on probation (the old champion is still warm); and a blue-green switch that is over before it is undone (the old champion
starts anew). After each cycle, when only the champion runs again, the footprint of the whole stack is taken. Fails if a request
failed, a rollout ended otherwise than told, or something was left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench import children, footprint, load, report, sample_model
from bench.client import Client, ended, wait
from cli.stack import config, ports, stack

DEADLINE_S = 180.0
GONE_S = 20.0
# few steps, and margins that a hundred requests can decide
CANARY = {
    "strategy": "canary",
    "steps": [{"weight_pct": 50, "requests": 50}, 100],
    "policy": {"alpha": 0.05, "beta": 0.2, "error_rate": {"tolerance_pct": 1.0, "margin_pct": 20.0}},
    "probation_s": 600,
}
BLUE_GREEN = {"strategy": "blue-green", "probation_s": 0}


class Cycles:
    """Champion version 1, challenger version 2; at the end of each cycle version 1 serves again, alone."""

    def __init__(self, api: Client) -> None:
        self._api = api

    def first(self) -> None:
        rollout_id = self._api.start({"model": sample_model.NAME, "version": 1})
        self._told(self._api.until(rollout_id, ended, DEADLINE_S), "promoted")

    def canary(self) -> None:
        rollout_id = self._api.start({"model": sample_model.NAME, "version": 2, **CANARY})
        shown = self._api.until(rollout_id, lambda now: now["phase"] == "probation" or ended(now), DEADLINE_S)
        if ended(shown):
            self._told(shown, "probation")
        self._api.post(f"/api/v1/rollouts/{rollout_id}/undo", {"reason": "bench"})
        self._told(self._api.until(rollout_id, ended, DEADLINE_S), "rolled_back")

    def blue_green(self) -> None:
        rollout_id = self._api.start({"model": sample_model.NAME, "version": 2, **BLUE_GREEN})
        self._told(self._api.until(rollout_id, ended, DEADLINE_S), "promoted")
        back = self._api.post(f"/api/v1/rollouts/{rollout_id}/undo", {"reason": "bench"})["id"]
        self._told(self._api.until(back, ended, DEADLINE_S), "promoted")

    def settled(self) -> None:
        """Only the champion runs, with nothing under way."""

        def alone(model: Any) -> bool:
            running = model["deployments"]
            return model["champion"] == 1 and model["open_rollout"] is None and running is not None and len(running) == 1

        wait(lambda: self._api.get(f"/api/v1/models/{sample_model.NAME}"), alone, DEADLINE_S)

    def _told(self, shown: Any, outcome: str) -> None:
        if shown["phase"] != outcome:
            raise RuntimeError(f"a rollout ended {shown['phase']}, not {outcome}: {shown['reason']} {shown['message']}")


def run(
    cycles: Cycles, options: argparse.Namespace, look: Callable[[], footprint.Footprint]
) -> tuple[list[footprint.Footprint], dict[str, list[float]]]:
    """Footprints from the end of the warm-up on, and seconds per kind of cycle."""
    seconds: dict[str, list[float]] = {"canary and undo": [], "blue-green, and back by another": []}
    samples: list[footprint.Footprint] = []
    for number in range(options.warm_up + options.cycles):
        kind, turn = list(zip(seconds, (cycles.canary, cycles.blue_green), strict=True))[number % 2]
        begin = time.monotonic()
        turn()
        seconds[kind].append(time.monotonic() - begin)
        cycles.settled()
        if number + 1 >= options.warm_up:
            samples.append(look())
            one = samples[-1]
            report.console.print(
                f"cycle {number + 1 - options.warm_up}: {seconds[kind][-1]:.1f} s, {one.processes} processes, "
                f"{one.listening} ports, {one.fds} descriptors, {one.rss_mib:.0f} MiB",
                highlight=False,
            )
    return samples, seconds


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        local = stack.Stack(config.Config(folder / "state", ports.random_ports()))
        with contextlib.ExitStack() as cleanup:
            local.start()
            cleanup.callback(local.stop)
            sample_model.register(local.addresses["mlflow"], options.seed)
            cycles = Cycles(Client(urlsplit(local.addresses["api"]).port or 80))
            cycles.first()
            programs = cleanup.enter_context(children.Children(folder))
            url = f"{local.addresses['ingress']}/{sample_model.NAME}/predict"
            summary = folder / "load.json"
            programs.program("load", "load", "--rate", options.rate, "--seed", options.seed, "--summary", summary, url)
            samples, seconds = run(cycles, options, lambda: footprint.take(local.pids(), local.config.state_dir))
            programs.stop("load")
            told = load.read(summary)
            family = footprint.family(local.pids())
            open_ports = footprint.listening(family)
        left = leftovers(family, open_ports)
    return {"samples": samples, "seconds": seconds, "told": told, "left": left}


def leftovers(family: Sequence[psutil.Process], open_ports: set[int]) -> list[str]:
    """After the stack was stopped: processes that still run, and ports that are still listened on."""
    _, alive = psutil.wait_procs(list(family), timeout=GONE_S)
    found = [f"process {process.pid} outlives the stack: {process.name()}" for process in alive]
    return found + [f"somebody still listens on port {port}" for port in sorted(open_ports) if _listens(port)]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ports.HOST, port), timeout=1):
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Promotions and rollbacks of a real model, over and over.")
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--warm-up", type=int, default=4, help="cycles before the first footprint that counts")
    parser.add_argument("--rate", type=float, default=100.0, help="client requests a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    children.stop_on_sigterm()
    found = measure(options)
    samples, told = found["samples"], found["told"]
    seconds = {kind: report.quantiles(values) for kind, values in found["seconds"].items()}
    report.table(f"{options.cycles} cycles at {options.rate:g} requests/s", "seconds a cycle", seconds)
    totals = [(name, getattr(samples[0], name), getattr(samples[-1], name), "") for name in _TOTALS]
    growth = {part: round(footprint.growth_mib(samples, part), 1) for part in samples[0].parts}
    parts = [
        (f"{part}: {what}", getattr(samples[0].parts[part], field), getattr(samples[-1].parts[part], field), trend)
        for part in samples[0].parts
        for what, field, trend in (
            ("memory, MiB", "rss_mib", f"{growth[part]:+g}"),
            ("descriptors", "fds", ""),
            ("threads", "threads", ""),
        )
    ]
    columns = ("what the stack holds", "after the warm-up", "in the end", "trend, MiB in 100 cycles")
    report.grid("Left behind?", columns, [*totals, *parts])
    report.grid("Latency of the clients, all the while", ("quantile", "milliseconds"), told.latency_ms.items())
    problems = [*told.problems(), *footprint.leaks(samples), *found["left"]]
    report.console.print(f"requests: {told.sent}, failed: {told.failed}")
    report.write(
        "cycles",
        {
            "options": vars(options),
            "seconds": seconds,
            "clients": {"sent": told.sent, "failed": told.failed, "unsent": told.unsent, "latency_ms": told.latency_ms},
            "first": samples[0].to_json(),
            "last": samples[-1].to_json(),
            "memory_growth_mib_in_100_cycles": growth,
            "memory_mib": {part: [sample.parts[part].rss_mib for sample in samples] for part in growth},
            "targets": {"failed": report.target(told.failed, 0, "failed requests"), "cycles": options.cycles},
            "problems": problems,
        },
    )
    return report.verdict(problems)


_TOTALS = ("processes", "listening", "fds", "rss_mib", "files", "bytes")


if __name__ == "__main__":
    sys.exit(main())
