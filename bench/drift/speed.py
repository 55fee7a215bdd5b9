"""A million predictions with twenty features: how long does a look take? Beside it, Evidently's report on the same rows.

Ours is given counts, as servers export them; what counting costs a server is in `bench_telemetry`'s field, not here. Called by `bench_drift`, alone.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

from bench.drift import ours
from bench.drift.cases import Case
from monitoring.reports import checks, child

ROWS, KNOWN = 1_000_000, 100_000
NUMBERS, TEXTS = 14, 6
LOOKS = 50
WANTED_MS = 50.0


def _rows(many: int, chance: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(chance.normal(size=(many, NUMBERS)), columns=[f"n{place}" for place in range(NUMBERS)])
    names = np.array([f"v{place}" for place in range(30)], dtype=object)
    for place in range(TEXTS):
        frame[f"t{place}"] = names[np.minimum(chance.geometric(0.2, many), 30) - 1]
    return frame


def run(scale: float, seed: int) -> dict[str, Any]:
    chance = np.random.default_rng([seed, 6])
    many = max(100_000, round(ROWS * scale))
    known, live = _rows(KNOWN, chance), _rows(many, chance)
    answers = [1.0 / (1.0 + np.exp(-side["n0"].to_numpy())) for side in (known, live)]
    case = Case("a million rows", known, live, answers[0], answers[1])
    watcher = ours.Ours(case, many // 64, rows=many)
    end = many // 64 * 64
    begin = time.perf_counter()
    watcher.look(end)
    first_ms = 1000.0 * (time.perf_counter() - begin)
    took = []
    for _ in range(LOOKS):
        begin = time.perf_counter()
        watcher.look(end)
        took.append(1000.0 * (time.perf_counter() - begin))
    median, most = float(np.median(took)), float(np.max(took))
    evidently_s, peak_mb = _evidently(case)
    lengths = len(watcher.lengths)
    rows = [
        [f"slipway, one look: {lengths} windows, the longest with {many} rows", f"{median:.1f} ms", f"{most:.1f} ms"],
        ["slipway, the first look: calibrates each length", f"{first_ms:.0f} ms", "-"],
        [
            f"Evidently, DataDriftPreset and DataSummaryPreset on the same {many} rows",
            f"{1000 * evidently_s:.0f} ms",
            f"peak {peak_mb:.0f} MB",
        ],
    ]
    return {
        "title": f"{many} predictions x {NUMBERS + TEXTS} features: what a look takes",
        "columns": ["what", "median", "most"],
        "rows": rows,
        "summary": {"look_ms": median, "first_ms": first_ms, "evidently_s": evidently_s, "ratio": 1000 * evidently_s / median},
        "targets": [{"what": "a look, median of 50, ms", "wanted": f"<= {WANTED_MS:g}", "measured": round(median, 1)}],
    }


def _evidently(case: Case) -> tuple[float, float]:
    """Seconds for its report, its import not counted, and the memory of this process at its highest."""
    os.environ["DO_NOT_TRACK"] = "1"
    known, live = case.frames()
    numeric = tuple(name for name in known if known[name].dtype.kind in "biuf")
    pair = checks.Pair(live, known, numeric, tuple(name for name in known if name not in numeric), (), {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import evidently  # noqa: F401 - before the clock starts

        begin = time.perf_counter()
        child.snapshot(pair).dict()
        return time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
