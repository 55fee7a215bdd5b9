"""How long is a bad version still asked after somebody says abort? 200 aborts under load, everything real but the model.

    python bench/bench_abort.py --aborts 200 --rate 300

Each cycle ships version 2 as a canary at 50 %, waits until it has traffic, dwells for a random while, and aborts. Measured from
the moment before the API call until (a) the API has answered, (b) the loop has decided, (c) Envoy has confirmed, (d) the last
request has arrived at version 2. Fails only if a request failed.
"""

from __future__ import annotations

import argparse
import bisect
import random
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench import children, load, machine, report, scene
from bench.client import ended, wait
from bench.marks import Mark
from bench.plane import names

TARGET_MS = 25.0
QUIET_S = 0.1  # nobody asks anything while the abort is on its way, and what would still arrive arrives
CANARY = {"version": 2, "steps": [{"weight_pct": 50, "requests": 10_000_000}, 100]}


@dataclass(frozen=True, slots=True)
class Abort:
    """One cycle, in monotonic seconds."""

    called: float
    answered: float
    decided_wall: float
    over: float
    arrivals: int


def cycle(stage: scene.Scene, name: str, dwell_s: float) -> Abort:
    bad = stage.arrivals[2]
    before = len(bad)
    rollout_id = stage.api.start({"model": name, **CANARY})
    stage.api.until(rollout_id, lambda shown: shown["step"]["since"] is not None)
    wait(lambda: len(bad), lambda count: count > before)
    time.sleep(dwell_s)
    called = time.monotonic()
    stage.api.post(f"/api/v1/rollouts/{rollout_id}/abort", {"reason": "bench"})
    answered = time.monotonic()
    time.sleep(QUIET_S)
    shown = stage.api.until(rollout_id, ended)
    if shown["outcome"] != "rolled_back":
        raise RuntimeError(f"the abort ended as {shown['outcome']}: {shown['reason']}")
    decided = datetime.fromisoformat(shown["decided_at"]).timestamp()
    return Abort(called, answered, decided, time.monotonic(), len(bad) - before)


def parts(abort: Abort, last: float, marks: list[Mark]) -> dict[str, float]:
    """The way of one abort in consecutive milliseconds; they sum up to `total` = (d)."""

    def span(what: str, by: str, after: float) -> Mark:
        return next(mark for mark in marks if (mark.what, mark.by) == (what, by) and mark.begin >= after)

    intent = span("store.save", "api", abort.called)
    first = next(mark for mark in marks if mark.by == "api" and mark.begin >= abort.called)
    read = span("store.current", "loop", intent.end)
    decision = span("store.save", "loop", intent.end)
    sent = span("gateway.publish", "loop", decision.end)
    acked = span("gateway.acked", "gateway", sent.begin)
    found = {
        "API: to its first question": first.begin - abort.called,
        "SQL: API reads": sum(
            mark.end - mark.begin for mark in marks if mark.by == "api" and first.begin <= mark.begin < intent.begin
        ),
        "SQL: intent saved": intent.end - intent.begin,
        "loop: woken": read.begin - intent.end,
        "SQL: pass reads": read.end - read.begin,
        "loop: decided": decision.begin - read.end,
        "SQL: decision saved": decision.end - decision.begin,
        "loop: planned and compiled": sent.end - decision.end,
        "ADS: until confirmed": acked.begin - sent.end,
    }
    found["API: between"] = intent.begin - first.begin - found["SQL: API reads"]
    found["last request after the confirmation"] = last - acked.begin
    return {name: value * 1000 for name, value in found.items()} | {"confirmed": (acked.begin - abort.called) * 1000}


def analyse(stage: scene.Scene, aborts: list[Abort]) -> dict[str, list[float]]:
    told = stage.api.get("/bench/marks")
    marks = sorted((Mark(**mark) for mark in told["marks"]), key=lambda mark: mark.begin)
    begins = [mark.begin for mark in marks]
    arrivals = stage.arrivals[2].times()
    rows: dict[str, list[float]] = {}
    for abort in aborts:
        nearby = marks[bisect.bisect_left(begins, abort.called) : bisect.bisect_left(begins, abort.over)]
        place = bisect.bisect_left(arrivals, abort.over) - 1
        last = arrivals[place]
        found = parts(abort, last, nearby)
        found["(a) API answered"] = (abort.answered - abort.called) * 1000
        found["(b) decided"] = (abort.decided_wall - told["offset_s"] - abort.called) * 1000
        found["(c) confirmed by Envoy"] = found.pop("confirmed")
        found["(d) last request on the bad version"] = max(0.0, (last - abort.called) * 1000)
        for label, value in found.items():
            rows.setdefault(label, []).append(value)
    return rows


def grouped(rows: dict[str, list[float]]) -> dict[str, list[float]]:
    """What part is SQL, API and loop, ADS: per abort the sum of its spans."""
    return {
        kind: [sum(values) for values in zip(*(rows[label] for label in rows if label.startswith(prefixes)), strict=True)]
        for kind, prefixes in (("SQL", ("SQL:",)), ("API and loop", ("API:", "loop:")), ("ADS", ("ADS:",)))
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(options.seed)
    (name,) = names(1)
    with scene.opened(models=1) as stage:
        first = stage.api.start({"model": name, "version": 1, "strategy": "blue-green"})
        stage.api.until(first, ended)
        stage.load([name], options.rate, options.seed)
        wait(lambda: len(stage.arrivals[1]), lambda count: count > options.rate)
        aborts: list[Abort] = []
        for number in range(-options.warm_up, options.aborts):
            abort = cycle(stage, name, rng.uniform(*options.dwell))
            if number >= 0:
                aborts.append(abort)
        stage.children.stop(scene.LOAD)
        told = load.read(stage.summary)
        rows = analyse(stage, aborts)
        disk = machine.fsync_ms(stage.folder)
    return {"rows": rows, "told": told, "disk": disk, "asked": sum(abort.arrivals for abort in aborts)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Aborts under load.")
    parser.add_argument("--aborts", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=5, help="cycles before those that count")
    parser.add_argument("--rate", type=float, default=300.0, help="client requests a second")
    parser.add_argument("--dwell", type=float, nargs=2, default=(0.05, 0.35), help="seconds on the canary, at random between")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    children.stop_on_sigterm()
    found = measure(options)
    rows = {label: report.quantiles(values) for label, values in found["rows"].items()}
    kinds = {label: report.quantiles(values) for label, values in grouped(found["rows"]).items()}
    ends = {label: row for label, row in rows.items() if label.startswith("(")}
    way = {label: row for label, row in rows.items() if not label.startswith("(")}
    disk = report.quantiles(found["disk"])
    report.table(f"From the abort call, {options.aborts} aborts at {options.rate:g} requests/s", "milliseconds", ends)
    report.table("What part is what", "milliseconds", {**kinds, "(the disk alone: one durable write of 4 KiB)": disk})
    report.table("The way in detail", "milliseconds", way)
    told = found["told"]
    reached = report.target(ends["(d) last request on the bad version"]["p99"], TARGET_MS, "ms p99")
    report.console.print(
        f"requests: {told.sent}, failed: {told.failed}, on the bad version: {found['asked']}; target: {reached}"
    )
    problems = told.problems()
    report.write(
        "abort",
        {
            "options": vars(options),
            "from_call_ms": ends,
            "parts_ms": kinds,
            "way_ms": way,
            "disk_ms": disk,
            "clients": {"sent": told.sent, "failed": told.failed, "unsent": told.unsent, "latency_ms": told.latency_ms},
            "targets": {"last_request_p99": reached, "failed": report.target(told.failed, 0, "failed requests")},
            "problems": problems,
        },
    )
    return report.verdict(problems)


if __name__ == "__main__":
    sys.exit(main())
