"""How fast is a slower version found? The latency guard alone with all of alpha = .01, a look a second.

On synthetic services, and on latencies measured from real servers, calm beside disturbed; the guard learns from what the
champion answered before and from the challenger itself, and was tuned on neither. Two bounds: of all bins, and of what the guard may bet
on at all: tilts that never fall, flat below the floor quantile. Where that alone more than doubles the bound, the two versions
mostly differ otherwise (measured on a shared machine, many did), and the cell does not count. Also how often the very same server, measured twice, is rolled back. Called by `bench_judge`.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from bench.judge import delays, shapes
from bench.judge.delays import Cell
from bench.judge.shapes import Pair
from judge import latency, slowdowns
from judge.policy import LatencyGuard
from judge.samples import Arm, Window

Floats = NDArray[np.float64]

ALPHA = 0.01
NEEDED = -log(ALPHA)
ROLLOUTS = 60
LOOK_S = 1.0
PAST = 15_000  # champion answers before the rollout: minutes
NOTHING_TOLERATED = LatencyGuard(tolerance_pct=0.0, tolerance_ms=0.0)
SHARES = (0.05, 0.20)
SHORTEST_S = 3.0
AGAIN_S = 600  # of the same server against itself


def grouped(pair: Pair) -> tuple[Floats, Floats]:
    """Chances over the groups of bins, at most 10 % wide, that are told apart."""
    dictionary = slowdowns.build(shapes.sparse((pair.champion * 1e9).astype(np.int64)), (), 0.0, 0.0, 0.0)
    return dictionary.grouped(pair.champion, challenger=False), dictionary.grouped(pair.challenger, challenger=False)


def one_sided_s(pair: Pair, share: float) -> float:
    """Seconds until a test is sure that is told the truth, but may only bet on slower answers beyond the median (inf: never)."""
    past = shapes.sparse((pair.champion * 1e9).astype(np.int64))
    dictionary = slowdowns.build(past, (), NOTHING_TOLERATED.floor_pct, 0.0, 0.0)
    champion, challenger = (
        np.maximum(dictionary.grouped(arm, challenger=False), 1e-9) for arm in (pair.champion, pair.challenger)
    )
    tilt = isotonic_regression(challenger / champion, weights=champion).x
    pooled = share * challenger + (1.0 - share) * champion
    growth = float(share * challenger @ np.log(tilt) - pooled @ np.log1p(share * (tilt - 1.0)))
    return NEEDED / growth / pair.per_s if growth > 0.0 else float("inf")


def first(pair: Pair, share: float, guard: LatencyGuard, rng: np.random.Generator, looks: int) -> float:
    """Seconds until one rollout is rolled back, by the guard as the product calls it (nan: never)."""
    known = latency.opened(guard, shapes.sparse(rng.multinomial(PAST, pair.champion)))
    for look in range(1, looks + 1):
        n1 = int(rng.poisson(pair.per_s * LOOK_S * share))
        n0 = int(rng.poisson(pair.per_s * LOOK_S * (1.0 - share)))
        own, other = (
            Arm(n, 0, shapes.sparse(rng.multinomial(n, chances))) for n, chances in ((n1, pair.challenger), (n0, pair.champion))
        )
        known = latency.after(known, guard, Window(1, other, own), log_cap=NEEDED)
        if known.peak >= NEEDED:
            return look * LOOK_S
    return float("nan")


def cell(pair: Pair, share: float, rollouts: int, seed: int) -> Cell:
    champion, challenger = grouped(pair)
    bound = delays.bound_s(share, champion, challenger, ALPHA, pair.per_s)
    looks = int(delays.HORIZON * max(bound, 2.0 * SHORTEST_S) / LOOK_S)
    rng = np.random.default_rng([seed, 4, len(pair.title), round(100 * share)])
    own = np.array([first(pair, share, NOTHING_TOLERATED, rng, looks) for _ in range(rollouts)])
    slower_s = one_sided_s(pair, share)
    counts = SHORTEST_S <= bound <= LONGEST_S and slower_s <= 2.0 * bound
    return delays.measured(pair.title, share, bound, own, np.array([slower_s]), horizon_s=looks * LOOK_S, counts=counts)


LONGEST_S = 600.0  # what takes longer is no regression that anybody feels


def again(pair: Pair, guard: LatencyGuard, rollouts: int, seed: int) -> float:
    """Part of the rollouts of the same server against itself that are rolled back within ten minutes at a share of 20 %."""
    rng = np.random.default_rng([seed, 5, len(pair.title)])
    found = [first(pair, 0.2, guard, rng, round(AGAIN_S / LOOK_S)) for _ in range(rollouts)]
    return float(np.isfinite(found).mean())


def run(scale: float, seed: int) -> dict[str, Any]:
    rollouts = max(round(ROLLOUTS * scale), 8)
    made = [cell(pair, share, rollouts, seed) for pair in shapes.synthetic_pairs(200.0) for share in SHARES]
    pairs = shapes.measured_pairs()
    changed = [pair for pair in pairs if not pair.title.endswith(": none")]
    real = [cell(pair, share, rollouts, seed) for pair in changed for share in SHARES]
    same = {
        pair.title.split(":")[0]: again(pair, LatencyGuard(), max(rollouts // 2, 8), seed)
        for pair in pairs
        if pair not in changed
    }
    targets = [
        delays.mean_target("latency, synthetic", made, 1.60),
        delays.mean_target("latency, real servers", real, 2.0),
        {
            "what": "the same server measured twice, default policy: rolled back, worst server",
            "wanted": "<= .01 within 2 standard errors",
            "measured": max(same.values()),
            "ok": max(same.values()) <= ALPHA + 2.0 * (ALPHA * (1.0 - ALPHA) / max(rollouts // 2, 8)) ** 0.5,
        },
    ]
    title = f"Latency: mean delay, a look a second, alpha .01, {rollouts} rollouts a cell (in brackets: does not count)"
    return {
        **delays.section("latency", title, made + real, targets),
        "more": [
            {
                "title": f"The same server measured twice, side by side: rolled back within {AGAIN_S // 60} minutes at a share of 20 %",
                "columns": ["server", "default policy"],
                "rows": [[server, f"{part:.3f}"] for server, part in same.items()],
            }
        ],
    }
