"""How fast are more errors found? The error rate guard alone with all of alpha = .01, at a constant share of 200 requests/s.

Nothing is tolerated (ratio 1), as for the bound. Also labels, which the same kernel judges with other bets. Called by `bench_judge`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge import delays, levels
from bench.judge.delays import Cell
from judge import error_rate, quality
from judge.counts import Known
from judge.policy import QualityGuard

Floats = NDArray[np.float64]

ALPHA = 0.01
NEEDED = -log(ALPHA)
ROLLOUTS = 1_500
LOOK_S = 2.0  # as the control plane looks
ERRORS = (
    (0.001, 0.0015), (0.001, 0.002), (0.001, 0.005), (0.005, 0.01), (0.01, 0.015), (0.01, 0.02), (0.01, 0.05), (0.005, 0.05),
)  # fmt: skip
SHARES = (0.01, 0.05, 0.20, 0.50)
SHORTEST_S = 27.0  # of a bound that counts: as in judge.md
LABELLED = QualityGuard(tolerance_ratio=1.0, tolerance_pct=0.0)
WRONG = ((0.10, 0.13), (0.30, 0.36), (0.05, 0.08))
LABELS_PER_S = 20.0


def drawn(rng: np.random.Generator, rows: int, p: tuple[float, float], share: float, requests: float) -> tuple[Floats, ...]:
    """n1, x1, n0, x0 of one look, (rows,) each."""
    n = rng.poisson(requests, rows)
    n1 = rng.binomial(n, share)
    counts = (n1, rng.binomial(n1, p[1]), n - n1, rng.binomial(n - n1, p[0]))
    return tuple(each.astype(float) for each in counts)


def cell(name: str, p: tuple[float, float], share: float, per_s: float, rollouts: int, seed: int) -> Cell:
    """One size of regression at one share, judged as `name` judges."""
    champion, challenger = (np.array([rate, 1.0 - rate]) for rate in p)
    bound = delays.bound_s(share, champion, challenger, ALPHA, per_s)
    looks = int(delays.HORIZON * max(bound, 3.0 * LOOK_S) / LOOK_S)
    rng = np.random.default_rng([seed, 1, round(1e4 * p[0]), round(1e4 * p[1]), round(100 * share)])
    update, known = _kernel(name, rollouts)

    def see(left: Known[Floats], rows: int) -> None:
        update(left, *drawn(rng, rows, p, share, per_s * LOOK_S))

    own = delays.until(known, rollouts, see, lambda left: left.peak >= NEEDED - 1e-9, LOOK_S, looks)

    def factors(rows: int) -> Floats:
        n1, x1, n0, x0 = drawn(rng, rows, p, share, per_s * LOOK_S)
        won = np.zeros(rows)
        realised = n1 / np.maximum(n1 + n0, 1.0)
        for bad, x, y in ((0, x1, x0), (1, n1 - x1, n0 - x0)):
            times = challenger[bad] / champion[bad]
            won += x * log(times) - (x + y) * np.log1p(realised * (times - 1.0))
        return won

    told = delays.told(factors, rollouts, NEEDED, LOOK_S, looks)
    title = f"{100 * p[0]:g} -> {100 * p[1]:g} % {'wrong' if name == 'labels' else 'errors'}"
    return delays.measured(title, share, bound, own, told, horizon_s=looks * LOOK_S, counts=bound >= SHORTEST_S)


def _kernel(name: str, rollouts: int) -> tuple[Callable[..., None], Known[Floats]]:
    if name == "labels":
        return lambda left, *counts: quality.update(left, LABELLED, *counts, log_cap=NEEDED), quality.fresh(rollouts)
    guard = levels.EDGE
    return lambda left, *counts: error_rate.update(left, guard, *counts, log_cap=NEEDED), error_rate.fresh(rollouts)


def run(scale: float, seed: int, *, labels: bool = False) -> dict[str, Any]:
    rollouts = max(round(ROLLOUTS * scale), 60)
    if labels:
        cells = [cell("labels", p, share, LABELS_PER_S, rollouts, seed) for p in WRONG for share in SHARES[1:]]
        title = f"Labels: mean delay at {LABELS_PER_S:g} labels/s, alpha .01, {rollouts} rollouts a cell"
        return delays.section("labels", title, cells, [delays.worst_target("labels, binary", cells, 1.35)])
    cells = [cell("errors", p, share, 200.0, rollouts, seed) for p in ERRORS for share in SHARES]
    targets = [delays.mean_target("error rate", cells, 1.22), delays.worst_target("error rate", cells, 1.37)]
    title = f"Error rate: mean delay at 200 requests/s, a look every {LOOK_S:g} s, alpha .01, {rollouts} rollouts a cell (in brackets: too short)"
    return delays.section("errors", title, cells, targets)
