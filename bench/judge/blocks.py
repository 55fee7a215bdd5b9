"""Incidents of single replicas: what they do to exact bets, whether the A/A self-check finds them, and what blocks of time keep of the promise.

200 requests/s, a challenger of one replica beside a champion of four, 1 % errors on all; about every ten minutes a replica has 20 s with
so many more errors. judge.md section 4. Called by `bench_judge`.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge import levels
from judge import blocks, error_rate, selfcheck
from judge.maths import COLUMNS
from judge.policy import Mode, Policy
from judge.samples import Sample

Floats = NDArray[np.float64]

ALPHA = 0.05
NEEDED = -log(ALPHA)
ROLLOUTS = 4_000
CHECKS = 60
REPLICAS = 5  # the first serves the challenger
LOOK_S, LOOKS = 5.0, 720
SICK_LOOKS = 4
EVERY_S = 600.0
BLOCK_LOOKS = 6  # 30 s, the policy's default
SICK_MORE = (0.0, 0.01, 0.05, 0.50)  # additional error rate during an incident
PER_REPLICA = 40.0 * LOOK_S


class Replicas:
    """Errors of each replica, look by look."""

    def __init__(self, rng: np.random.Generator, rollouts: int, more: float, p1: float = 0.01) -> None:
        self.rng, self.more, self.left = rng, more, np.zeros((REPLICAS, rollouts))
        self.healthy = np.full((REPLICAS, 1), 0.01)
        self.healthy[0] = p1

    def look(self) -> tuple[Floats, Floats]:
        """Requests and errors, (REPLICAS, R) each."""
        self.left = np.maximum(self.left - 1, 0)
        self.left[self.rng.random(self.left.shape) < LOOK_S / EVERY_S] = SICK_LOOKS
        n = self.rng.poisson(PER_REPLICA, self.left.shape)
        x = self.rng.binomial(n, np.minimum(self.healthy + self.more * (self.left > 0), 1.0))
        return n.astype(float), x.astype(float)


def rolled_back(more: float, rollouts: int, seed: int, p1: float = 0.01) -> tuple[float, float]:
    """Part of the rollouts that exact bets and blocks roll back within an hour."""
    fired = [0, 0]
    for size, rng in levels.chunks(rollouts, seed, "blocks", more, p1):
        replicas = Replicas(rng, size, more, p1)
        exact, blocked = error_rate.fresh(size), blocks.fresh(size)
        block, resting = np.zeros((4, size)), np.zeros(size, dtype=bool)
        for look in range(LOOKS):
            n, x = replicas.look()
            counts = np.array([n[0], x[0], n[1:].sum(axis=0), x[1:].sum(axis=0)])
            error_rate.update(exact, levels.EDGE, *counts, log_cap=NEEDED)
            block += counts
            if look % BLOCK_LOOKS == BLOCK_LOOKS - 1:
                block[:, resting] = 0.0
                blocks.update(blocked, 1.0, *block)
                resting = blocks.surprising(COLUMNS, 1.0, *block)
                block[:] = 0.0
        fired[0] += int((exact.peak >= NEEDED - 1e-9).sum())
        fired[1] += int((blocked.peak >= NEEDED).sum())
    return fired[0] / rollouts, fired[1] / rollouts


def told_blocks(more: float, checks: int, seed: int) -> float:
    """Part of the self-checks, on an hour of the champion's four replicas, that choose blocks."""
    policy, chosen = Policy(alpha=ALPHA, latency=None), 0
    for check in range(checks):
        replicas = Replicas(np.random.default_rng([seed, 8, check, round(1000 * more)]), 1, more)
        totals, readings = np.zeros((2, REPLICAS)), []
        for look in range(LOOKS):
            totals += np.array(replicas.look())[:, :, 0]
            samples = tuple(
                Sample("g", 1, 1, int(totals[0, at]), int(totals[1, at]), replica=f"r{at}") for at in range(1, REPLICAS)
            )
            readings.append(selfcheck.Reading(look * LOOK_S, samples))
        chosen += selfcheck.check(policy, readings, seed=check).errors_mode is Mode.BLOCK
    return chosen / checks


def run(scale: float, seed: int) -> dict[str, Any]:
    rollouts, checks = max(round(ROLLOUTS * scale), 200), max(round(CHECKS * scale), 10)
    rows: list[list[object]] = []
    worst = 0.0
    for more in SICK_MORE:
        exact, blocked = rolled_back(more, rollouts, seed)
        worst = max(worst, blocked)
        told = told_blocks(more, checks, seed)
        rows.append(
            [f"equal versions, incidents of + {100 * more:g} % errors", f"{exact:.4f}", f"{blocked:.4f}", f"{told:.2f}"]
        )
    exact, blocked = rolled_back(0.05, max(rollouts // 10, 100), seed, p1=0.05)
    rows.append(["5 % errors instead of 1 %, incidents of + 5 %", f"{exact:.4f}", f"{blocked:.4f}", "-"])
    limit = ALPHA + 2.0 * (ALPHA * (1.0 - ALPHA) / rollouts) ** 0.5
    return {
        "name": "blocks",
        "title": f"Incidents of single replicas: rolled back within an hour, alpha .05, {rollouts} rollouts",
        "columns": ["what", "exact bets", "blocks of 30 s", "self-check chooses blocks"],
        "rows": rows,
        "summary": {"worst": worst, "found": blocked},
        "targets": [
            {
                "what": "false rollbacks in block mode, worst of four kinds of incidents",
                "wanted": "<= .05 within 2 standard errors",
                "measured": round(worst, 4),
                "ok": worst <= limit,
            },
            {"what": "a bad version is found in blocks, too", "wanted": ">= 0.99", "measured": round(blocked, 4)},
        ],
    }
