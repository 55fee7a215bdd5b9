"""Nothing drifts: how often does each tool say that something does? Rows that hang together in time, real and made up.

Windows of 5000 rows lie side by side; a window counts as a false alarm if any column is flagged in it (Evidently also by its own rule, half of the
columns). Ours looks at the end of each window, at windows of all lengths. Broken data is counted apart: gaps in the weather of the
shuffled flights are real. Called by `bench_drift`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.drift import cases, ours, peers
from bench.drift.cases import Case
from monitoring.drift.verdict import Label

ROWS = 5000
STEP = 100
KNOWN, LIVE = 40_000, 60_000  # of made-up rows
DAY = 900  # flights
HANG = (0.0, 0.9, 0.99, 0.997)
SEEDS = 6
DRIFTS = frozenset({Label.BENIGN, Label.HARMFUL})
TOOLS = ("slipway", "Evidently, any column", "Evidently, half of them", "NannyML", "ADWIN")


def worlds(scale: float, seed: int) -> list[tuple[str, int, Callable[[int], Case]]]:
    """Name, how many, and each."""
    many = max(1, round(SEEDS * scale))
    found: list[tuple[str, int, Callable[[int], Case]]]
    found = [(f"made up, correlation {hang:g}", many, _made_up(hang, seed)) for hang in HANG]
    flights = cases.flight_delays().case
    found.append(("flights of 2013, days shuffled", many, lambda each: cases.shuffled_in_time(flights, DAY, seed + each)))
    folder = peers.census_folder()
    found.append(("census, years in order", 1, lambda each: cases.census(folder, seed + each)))
    return found


def _made_up(hang: float, seed: int) -> Callable[[int], Case]:
    return lambda each: cases.made_up(hang, KNOWN + LIVE, KNOWN, 1000 * seed + each)


def flagged(case: Case) -> tuple[int, Counter[str]]:
    """Windows, and in how many each tool says that something drifts."""
    ends = list(range(ROWS, len(case.live) + 1, ROWS))
    windows = [(end - ROWS, end) for end in ends]
    told = ours.Ours(case, STEP).told(ends)
    found = Counter[str]()
    found["slipway"] = sum(look.verdict.label in DRIFTS for look in told)
    found["broken"] = sum(look.verdict.label is Label.BROKEN_DATA for look in told)
    evidently = peers.evidently(case, windows)
    found["Evidently, any column"] = int((evidently.most >= 1.0).sum())
    found["Evidently, half of them"] = int((evidently.share >= 0.5).sum())
    found["NannyML"] = int((peers.nannyml([case], windows)[0].most > 1.0).sum())
    alarms = np.array(peers.adwin([case])[0][peers.DELTA], dtype=int)
    found["ADWIN"] = len({int(row) // ROWS for row in alarms if row < ends[-1]})
    return len(windows), found


def run(scale: float, seed: int) -> dict[str, Any]:
    rows: list[list[object]] = []
    summary: dict[str, dict[str, float]] = {}
    shares: list[float] = []
    windows_of_all, alarms_of_all = 0, 0
    for name, many, made in worlds(scale, seed):
        total, hits = 0, Counter[str]()
        for each in range(many):
            windows, found = flagged(made(each))
            total, hits = total + windows, hits + found
        summary[name] = {tool: hits[tool] / total for tool in TOOLS}
        shares.append(hits["slipway"] / total)
        if not name.startswith("census"):
            windows_of_all, alarms_of_all = windows_of_all + total, alarms_of_all + hits["slipway"]
        rows.append([name, total, *(_percent(hits[tool] / total) for tool in TOOLS), _percent(hits["broken"] / total)])
    share = alarms_of_all / windows_of_all
    return {
        "title": f"Nothing drifts: part of the windows of {ROWS} rows in which it is said that something does",
        "columns": ["rows", "windows", *TOOLS, "broken data, slipway"],
        "rows": rows,
        "summary": summary,
        "targets": [
            {
                "what": "false alarms, family-wise, drift-free windows",
                "wanted": "<= 5 % within 2 standard errors",
                "measured": f"{_percent(share)} of {windows_of_all}",
                "ok": share <= 0.05 + 2 * (0.05 * 0.95 / windows_of_all) ** 0.5,
            },
            {
                "what": "the same, worst of the kinds of rows",
                "wanted": "<= 5 % within 2 standard errors",
                "measured": _percent(max(shares)),
                "ok": max(shares) <= 0.05 + 2 * (0.05 * 0.95 / (windows_of_all / len(shares))) ** 0.5,
            },
            {"what": "the census stays silent", "wanted": "0 %", "measured": _percent(shares[-1]), "ok": shares[-1] == 0.0},
        ],
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
