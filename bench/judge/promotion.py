"""How fast is an equal version promoted, and how often one that lies exactly at the margin? beta = .05, 200 requests/s.

A margin by ratio or in points alone (the other is so narrow that it never decides), as for the bound; the default policy has both. Then
latency at the quantiles of the default policy. Called by `bench_judge`.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge import delays, errors, shapes
from bench.judge.delays import Cell
from judge import error_rate, latency_margin
from judge.counts import Known
from judge.policy import ErrorRateGuard, LatencyGuard

Floats = NDArray[np.float64]

BETA = 0.05
NEEDED = -log(BETA)
ROLLOUTS, AT_MARGIN = 1_000, 4_000
PER_S, LOOK_S = 200.0, 2.0
NO_RATIO, NO_POINTS = 1.0 + 1e-6, 1e-6
MARGINS = (  # rate, margin as a ratio, in points
    (0.01, 1.5, NO_POINTS), (0.01, 2.0, NO_POINTS), (0.001, 2.0, NO_POINTS), (0.001, NO_RATIO, 0.5), (0.001, NO_RATIO, 0.2),
)  # fmt: skip
SHARES = (0.05, 0.20, 0.50)
SHORTEST_S = 20.0
SLOWER_PCT = (19.0, 41.0)


def _guard(ratio: float, points: float) -> ErrorRateGuard:
    return ErrorRateGuard(tolerance_ratio=1.0, tolerance_pct=0.0, margin_ratio=ratio, margin_pct=points)


def _at(rate: float, ratio: float, points: float) -> float:
    return max(rate * ratio, rate + points / 100.0)


def bound_s(rate: float, ratio: float, points: float, share: float) -> float:
    """Until equal rates can be told from the margin: by ratio only bad requests tell, and they say on which arm they were; in points
    all tell, and the nearest champion that is too good is the one to refute."""
    if points <= NO_POINTS:
        bad = share * ratio / (share * ratio + 1.0 - share)
        told = rate * _kl(share, bad)
    else:
        delta = points / 100.0
        lower = np.linspace(1e-9, rate, 20_000)
        upper = np.minimum(lower + delta, 1.0)
        told = float((share * _kls(rate, upper) + (1.0 - share) * _kls(rate, lower)).min())
    return -log(BETA) / told / PER_S


def _kl(p: float, q: float) -> float:
    return float(_kls(p, np.array([q]))[0])


def _kls(p: float, q: Floats) -> Floats:
    return p * np.log(p / q) + (1.0 - p) * np.log((1.0 - p) / (1.0 - q))


def _delays(p: tuple[float, float], margin: tuple[float, float], share: float, rollouts: int, looks: int, seed: int) -> Floats:
    """Seconds until promoted, (rollouts,)."""
    guard = _guard(*margin)
    rng = np.random.default_rng([seed, 2, round(1e4 * p[1]), round(100 * share)])

    def see(left: Known[Floats], rows: int) -> None:
        error_rate.update(left, guard, *errors.drawn(rng, rows, p, share, PER_S * LOOK_S), log_cap=NEEDED)

    return delays.until(error_rate.fresh(rollouts), rollouts, see, lambda left: left.promotion >= NEEDED, LOOK_S, looks)


def _title(rate: float, ratio: float, points: float) -> str:
    return f"{100 * rate:g} % errors, margin " + (f"x {ratio:g}" if points <= NO_POINTS else f"+ {points:g} points")


def cell(margin: tuple[float, float, float], share: float, rollouts: int, seed: int) -> Cell:
    rate, bound = margin[0], bound_s(*margin, share)
    looks = int(delays.HORIZON * bound / LOOK_S) + 3
    own = _delays((rate, rate), margin[1:], share, rollouts, looks, seed)
    horizon_s = looks * LOOK_S
    return delays.measured(_title(*margin), share, bound, own, np.array([]), horizon_s=horizon_s, counts=bound >= SHORTEST_S)


def wrongly(margin: tuple[float, float, float], share: float, rollouts: int, seed: int) -> float:
    """Part of the versions exactly at the margin that are promoted within four bounds."""
    rate = margin[0]
    looks = int(4.0 * bound_s(*margin, share) / LOOK_S)
    found = _delays((rate, _at(*margin)), margin[1:], share, rollouts, looks, seed)
    return float(np.isfinite(found).mean())


def latency_minutes(margin_pct: float, share: float, challenger: Floats, champion: Floats, rollouts: int, seed: int) -> Floats:
    """Minutes until all quantiles pass, (rollouts,); nan: not within half an hour."""
    guard = LatencyGuard(tolerance_pct=0.0, tolerance_ms=0.0, margin_pct=margin_pct, margin_ms=0.0)
    rng = np.random.default_rng([seed, 3, round(margin_pct), round(100 * share)])
    found = np.full(rollouts, np.nan)
    for rollout in range(rollouts):
        cuts = latency_margin.cuts(shapes.sparse(rng.multinomial(3_000, champion)), guard)
        known = latency_margin.fresh(guard)
        for look in range(1, round(1800.0 / LOOK_S) + 1):
            n1 = int(rng.binomial(rng.poisson(PER_S * LOOK_S), share))
            n0 = int(rng.poisson(PER_S * LOOK_S * (1.0 - share)))
            if n1 and n0:
                own, other = rng.multinomial(n1, challenger).astype(float), rng.multinomial(n0, champion).astype(float)
                known = latency_margin.after(known, cuts, own, other)
            if latency_margin.promotion(known) >= NEEDED:
                found[rollout] = look * LOOK_S / 60.0
                break
    return found


def _latencies(scale: float, seed: int) -> tuple[list[list[object]], float]:
    """Rows per margin and share, and the largest part promoted wrongly."""
    champion, worst = shapes.synthetic(), 0.0
    rows: list[list[object]] = []
    few = max(round(30 * scale), 5)
    for pct in SLOWER_PCT:
        slower = shapes.synthetic(times=1.0 + pct / 100.0)
        for share in SHARES:
            minutes = latency_minutes(pct, share, champion, champion, few, seed)
            wrong = latency_minutes(pct, share, slower, champion, 2 * few, seed) if share == SHARES[1] else np.array([np.nan])
            part = float(np.isfinite(wrong).mean()) if len(wrong) > 1 else np.nan
            worst = max(worst, 0.0 if np.isnan(part) else part)
            told = "-" if np.isnan(part) else f"{part:.3f}"
            rows.append([f"latency within + {pct:g} %", f"{100 * share:g} %", f"{np.nanmean(minutes):.2f}", told])
    return rows, worst


def run(scale: float, seed: int) -> dict[str, Any]:
    rollouts, many = max(round(ROLLOUTS * scale), 60), max(round(AT_MARGIN * scale), 200)
    cells = [cell(margin, share, rollouts, seed) for margin in MARGINS for share in SHARES]
    wrong = {_title(*margin): [wrongly(margin, share, many, seed) for share in SHARES] for margin in MARGINS}
    most = max(max(parts) for parts in wrong.values())
    latencies, slow = _latencies(scale, seed)
    by_ratio = [found for found in cells if "x " in found.title]
    in_points = [found for found in cells if "points" in found.title]
    targets = [
        delays.mean_target("promotion, margin by ratio", by_ratio, 1.20),
        delays.mean_target("promotion, margin in points", in_points, 1.45),
        {
            "what": "promotions of a version exactly at the margin",
            "wanted": "<= .05 within 2 standard errors",
            "measured": round(max(most, slow), 4),
            "ok": most <= BETA + 2.0 * (BETA * (1.0 - BETA) / many) ** 0.5,
        },
    ]
    title = f"Promotion of equal versions: mean delay, beta .05, {rollouts} rollouts a cell (in brackets: too short)"
    return {
        **delays.section("promotion", title, cells, targets),
        "more": [
            {
                "title": f"Promoted though exactly at the margin ({many} rollouts a cell)",
                "columns": ["margin", *(f"{100 * share:g} %" for share in SHARES)],
                "rows": [[name, *(f"{part:.4f}" for part in parts)] for name, parts in wrong.items()],
            },
            {
                "title": "Latency: minutes until p50, p90 and p99 have passed",
                "columns": ["margin", "share", "minutes", "promoted at the margin"],
                "rows": latencies,
            },
        ],
    }
