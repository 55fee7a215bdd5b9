"""How often is a version rolled back that is no worse than the champion? The judge's own kernel in every world, hour by hour.

Nothing is tolerated (ratio 1, no points), so equal versions lie on the very edge of what alpha is promised for. Each world is an hour of
720 looks for `--scale` times 20 000 rollouts. Called by `bench_judge`, once per alpha; `rolled_back` also by `peers`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from math import log, sqrt
from typing import Any

import numpy as np

from bench.judge import worlds
from bench.judge.worlds import World
from judge import error_rate
from judge.policy import ErrorRateGuard

ROLLOUTS = 20_000
CHUNK = 2_000  # rollouts at once: their evidence fits the processor's cache
EDGE = ErrorRateGuard(tolerance_ratio=1.0, tolerance_pct=0.0, margin_ratio=2.0, margin_pct=1.0)


def chunks(rollouts: int, seed: int, *what: object) -> Iterator[tuple[int, np.random.Generator]]:
    """Sizes, and a generator for each: the same whichever other parts are run."""
    streams = [zlib.crc32(repr(part).encode()) for part in what]
    for number, start in enumerate(range(0, rollouts, CHUNK)):
        yield min(CHUNK, rollouts - start), np.random.default_rng([seed, number, *streams])


class Judge:
    """The error rate guard of many rollouts, alone with all of alpha. decided_s: when each was rolled back (nan: never)."""

    def __init__(self, rollouts: int, alpha: float, guard: ErrorRateGuard = EDGE) -> None:
        self.guard, self.log_cap = guard, -log(alpha)
        self.known = error_rate.fresh(rollouts)
        self.decided_s = np.full(rollouts, np.nan)

    def see(self, now_s: float, window: worlds.Window) -> None:
        counts = (window.n1, window.x1, window.n0, window.x0)
        error_rate.update(self.known, self.guard, *counts, log_cap=self.log_cap)
        reached = np.isnan(self.decided_s) & (self.known.peak >= self.log_cap - 1e-9)
        self.decided_s[reached] = now_s


def rolled_back(world: World, alpha: float, rollouts: int, seed: int) -> int:
    """How many of so many equal versions."""
    found = 0
    for size, rng in chunks(rollouts, seed, world.name, alpha):
        judge = Judge(size, alpha)
        for now_s, window in worlds.windows(world, rng, size):
            judge.see(now_s, window)
        found += int(np.isfinite(judge.decided_s).sum())
    return found


def promised(found: int, rollouts: int, at_most: float) -> tuple[float, float, bool]:
    """The part, its standard error, and whether it is at most what was promised, within two standard errors of that."""
    part = found / rollouts
    return part, sqrt(part * (1.0 - part) / rollouts), part <= at_most + 2.0 * sqrt(at_most * (1.0 - at_most) / rollouts)


def run(scale: float, seed: int, *, alpha: float = 0.05) -> dict[str, Any]:
    rollouts = max(round(ROLLOUTS * scale), 200)
    rows, data, worst = [], {}, ("", 0.0)
    for world in worlds.WORLDS:
        part, error, ok = promised(rolled_back(world, alpha, rollouts, seed), rollouts, alpha)
        rows.append([world.title, rollouts, f"{part:.4f}", f"{error:.4f}", "yes" if ok else "NO"])
        data[world.name] = part
        worst = max(worst, (world.title, part), key=lambda pair: pair[1])
    kept = all(row[-1] == "yes" for row in rows)
    for world in worlds.CONTROLS:
        few = max(rollouts // 10, 200)
        part, error, _ = promised(rolled_back(world, alpha, few, seed), few, alpha)
        rows.append([world.title, few, f"{part:.4f}", f"{error:.4f}", "-"])
        data[world.name] = part
    return {
        "name": "levels",
        "title": f"False rollbacks of equal versions in an hour of 720 looks, alpha {alpha:g}",
        "columns": ["world", "rollouts", "rolled back", "standard error", "at most alpha (+ 2 SE)"],
        "rows": rows,
        "summary": {"alpha": alpha, "worst_world": worst[0], "worst": worst[1], "parts": data},
        "targets": [
            {
                "what": f"false rollbacks at alpha {alpha:g}, worst of {len(worlds.WORLDS)} worlds",
                "wanted": f"<= {alpha:g} within 2 standard errors",
                "measured": f"{worst[1]:.4f} ({worst[0]})",
                "ok": kept,
            }
        ],
    }
