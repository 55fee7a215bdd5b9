"""What does a fleet cost the control plane? 200 models, 20 of them in a canary, all with traffic, everything real but the models.

    python bench/bench_fleet.py --models 200 --open 20

Reads of the API come from this process at fixed times while the loop ticks as always (latency counts from when a read was due).
Then, with the loop stopped: CPU of one pass over all models, and what a change of weights costs beside 200 models. Fails only
if a request failed or a rollout ended on its own.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from typing import Any

import psutil

from bench import children, load, report, scene
from bench.client import ended, wait
from bench.plane import names

PASS_TARGET_S = 1.0
READ_TARGET_MS = 50.0
CANARY = {"version": 2, "steps": [{"weight_pct": 10, "requests": 10_000_000}, 100]}


def ship(stage: scene.Scene, models: list[str], going: int) -> list[str]:
    """Version 1 everywhere, then canaries of version 2 on the first models: their ids."""
    first = [stage.api.start({"model": name, "version": 1, "strategy": "blue-green"}) for name in models]
    for rollout_id in first:
        stage.api.until(rollout_id, ended, deadline_s=120)
    canaries = [stage.api.start({"model": name, **CANARY}) for name in models[:going]]
    for rollout_id in canaries:
        stage.api.until(rollout_id, lambda shown: shown["step"]["since"] is not None)
    return canaries


def reads(stage: scene.Scene, models: list[str], canaries: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of each kind of read."""
    kinds = {
        "GET models": itertools.cycle(["/api/v1/models"]),
        "GET model": (f"/api/v1/models/{name}" for name in itertools.cycle(models)),
        "GET rollouts": itertools.cycle(["/api/v1/rollouts?limit=100"]),
        "GET rollout": (f"/api/v1/rollouts/{rollout_id}" for rollout_id in itertools.cycle(canaries)),
    }
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    begin = time.monotonic()
    for number, kind in enumerate(itertools.cycle(kinds)):
        due = begin + number / options.reads_per_s
        if due - begin >= options.seconds:
            return found
        time.sleep(max(0.0, due - time.monotonic()))
        stage.api.get(next(kinds[kind]))
        found[kind].append((time.monotonic() - due) * 1000)
    return found


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    models = names(options.models)
    with scene.opened(models=options.models) as stage:
        plane, envoy = (psutil.Process(stage.children.pid(name)) for name in (scene.PLANE, scene.ENVOY))
        empty = plane.memory_info().rss
        begin = time.monotonic()
        canaries = ship(stage, models, options.open)
        shipped_s = time.monotonic() - begin
        stage.load(models, options.rate, options.seed)
        wait(lambda: len(stage.arrivals[2]), lambda count: count > 0)
        spent, begin = (cpu_s(plane), cpu_s(envoy)), time.monotonic()
        found = reads(stage, models, canaries, options)
        seconds = time.monotonic() - begin
        share = [(cpu_s(process) - was) / seconds for process, was in zip((plane, envoy), spent, strict=True)]
        over = [rollout_id for rollout_id in canaries if ended(stage.api.rollout(rollout_id))]
        memory = {"empty_mib": empty / 2**20, "plane_mib": plane.memory_info().rss / 2**20}
        before = cpu_s(envoy)
        passes = stage.api.post(f"/bench/passes?rounds={options.rounds}")
        passes["envoy_cpu_s"] = (cpu_s(envoy) - before) / options.rounds
        weights = stage.api.post(f"/bench/weights?model_name={models[-1]}&changes={options.changes}")
        memory["envoy_mib"] = envoy.memory_info().rss / 2**20
        stage.children.stop(scene.LOAD)
        told = load.read(stage.summary)
    problems = told.problems() + [f"rollout {rollout_id} ended on its own" for rollout_id in over]
    return {
        "shipped_s": shipped_s,
        "reads_ms": found,
        "cpu_share": {"plane": share[0], "envoy": share[1]},
        "memory": {name: round(value, 1) for name, value in memory.items()},
        "passes": passes,
        "weights": weights,
        "told": told,
        "problems": problems,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A fleet of models.")
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--open", type=int, default=20, help="models with an open rollout")
    parser.add_argument("--rate", type=float, default=100.0, help="client requests a second over all models")
    parser.add_argument("--reads-per-s", type=float, default=20.0, help="API reads a second, of four kinds in turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the API is read")
    parser.add_argument("--rounds", type=int, default=10, help="passes over all models")
    parser.add_argument("--changes", type=int, default=200, help="changes of weights")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    children.stop_on_sigterm()
    found = measure(options)
    api = {kind: report.quantiles(values) for kind, values in found["reads_ms"].items()}
    api["all reads"] = report.quantiles(itertools.chain(*found["reads_ms"].values()))
    passes, weights, told = found["passes"], found["weights"], found["told"]
    whole = {
        "CPU of the control plane": report.quantiles(passes["cpu_s"]),
        "wall, one model after another": report.quantiles(passes["wall_s"]),
    }
    change = {
        "until Envoy has confirmed": report.quantiles(weights["acked_ms"]),
        "until the first request goes the new way": report.quantiles(weights["effective_ms"]),
    }
    report.table(f"API reads, {options.models} models, {options.open} open rollouts", "milliseconds", api)
    report.table(f"One pass over all {passes['models']} models", "seconds", whole)
    report.table(f"A change of weights beside {options.models} models", "milliseconds", change)
    report.grid("Resources", ("what", "value"), _resources(found))
    targets = {
        "pass_over_all": report.target(whole["CPU of the control plane"]["max"], PASS_TARGET_S, "CPU seconds, the worst round"),
        "reads_p99": report.target(max(row["p99"] for row in api.values()), READ_TARGET_MS, "ms p99, the slowest kind"),
    }
    report.grid(
        "Targets",
        ("what", "target", "measured", "ratio"),
        [(name, row["target"], row["measured"], row["ratio"]) for name, row in targets.items()],
    )
    report.write(
        "fleet",
        {
            "options": vars(options),
            "reads_ms": api,
            "pass_s": {**whole, "envoy_cpu_per_pass_s": round(passes["envoy_cpu_s"], 4)},
            "weight_change_ms": {**change, "cpu_per_change": round(weights["cpu_s"] * 1000 / options.changes, 3)},
            "cpu_share": found["cpu_share"],
            "memory": found["memory"],
            "shipped_s": found["shipped_s"],
            "clients": {"sent": told.sent, "failed": told.failed, "unsent": told.unsent},
            "targets": targets,
            "problems": found["problems"],
        },
    )
    return report.verdict(found["problems"])


def _resources(found: dict[str, Any]) -> list[tuple[str, str]]:
    memory, share = found["memory"], found["cpu_share"]
    return [
        ("memory of the control plane, before the first model", f"{memory['empty_mib']:.0f} MiB"),
        ("memory of the control plane, in the end", f"{memory['plane_mib']:.0f} MiB"),
        ("memory of Envoy", f"{memory['envoy_mib']:.0f} MiB"),
        ("CPU of the control plane while ticking and being read", f"{100 * share['plane']:.0f} % of a core"),
        ("CPU of Envoy meanwhile", f"{100 * share['envoy']:.0f} % of a core"),
        ("CPU of Envoy for the counts of one pass over all", f"{found['passes']['envoy_cpu_s']:.2f} s"),
        ("shipping the first version of every model took", f"{found['shipped_s']:.1f} s"),
    ]


if __name__ == "__main__":
    sys.exit(main())
