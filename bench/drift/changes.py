"""A change at a known row: how many rows later does each tool say so, at equal false alarms? Streams of River's generators.

A model learns from the first rows; the columns are the features, its prediction and, as if labels came at once, whether it was wrong, for in half of
the streams nothing moves but what the features mean. Everybody is asked at the same looks. Ours is as it comes. The others' thresholds are
set, over all streams together, so that as many drift-free stretches have an alarm as ours or one in twenty, whichever is more: lower
where their defaults are quieter than that, higher where they cry wolf. Called by `bench_drift`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.drift import ours, peers
from bench.drift.cases import Case

LEARNT, KNOWN, QUIET, AFTER = 5_000, 30_000, 15_000, 10_000
CHANGE = LEARNT + KNOWN + QUIET
ROWS = 5000  # of everybody's window
LOOK, SELDOM = 100, 1000  # rows between two looks: as many as a slice of the control plane has; and where windows are costly
SOON = 2000  # rows after the change where everybody is asked at every look
SEEDS = 6
FALSE = 0.05  # of the drift-free stretches
DELTAS = (0.02, 2e-3, 2e-4, 1e-5, 1e-8)
TOOLS = ("slipway", "ADWIN", "NannyML", "Evidently")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """Of one stream: looks (live rows, the change is at QUIET) and the ratio to the threshold at each; the first look that alarms is
    the first above a factor."""

    looks: NDArray[np.int64]
    ratios: Floats

    @property
    def quiet(self) -> float:
        """The largest ratio before the change."""
        return float(self.ratios[self.looks <= QUIET].max(initial=0.0))

    def delay(self, factor: float) -> float:
        """Rows from the change to the first alarm after it; NaN: none."""
        late = self.looks[(self.looks > QUIET) & (self.ratios > factor)]
        return float(late[0] - QUIET) if late.size else float("nan")


def case(name: str, path: Path) -> Case:
    """The features, what the model makes of them, and whether it is right."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = pd.read_parquet(path)
    truth = rows.pop("y")
    model = HistGradientBoostingClassifier(max_iter=40, early_stopping=False, random_state=0)
    model.fit(rows[:LEARNT], truth[:LEARNT])
    answers = model.predict_proba(rows)
    rows["wrong"] = (model.classes_[answers.argmax(axis=1)] != truth).astype(float)
    later = slice(LEARNT + KNOWN, None)
    known = slice(LEARNT, LEARNT + KNOWN)
    return Case(name, rows[known], rows[later].reset_index(drop=True), answers[known], answers[later])


def _ours(watched: Case) -> Told:
    """Looks no further than the first alarm after the change."""
    watcher = ours.Ours(watched, LOOK)
    looks, ratios = [], []
    for end in range(ROWS, QUIET + AFTER + 1, LOOK):
        look = watcher.look(end)
        looks.append(end)
        ratios.append(max(look.ratio, 1.001) if look.alarm else min(look.ratio, 1.0))
        if look.alarm and end > QUIET:
            break
    return Told(np.array(looks), np.array(ratios))


def _seldom() -> NDArray[np.int64]:
    before = np.arange(ROWS, QUIET + 1, SELDOM)
    return np.concatenate(
        [before, np.arange(QUIET + LOOK, QUIET + SOON + 1, LOOK), np.arange(QUIET + SOON + SELDOM, QUIET + AFTER + 1, SELDOM)]
    )


def _windowed(beyond: peers.Beyond) -> Told:
    return Told(_seldom(), beyond.most)


def _adwin(alarms: dict[float, list[int]]) -> Told:
    """As a ratio: the logarithm of delta, from the boldest on; it alarms at a look if it did since the last."""
    looks = np.arange(LOOK, QUIET + AFTER + 1, LOOK)
    ratios = np.zeros(len(looks))
    for delta in sorted(DELTAS, reverse=True):
        hit = np.unique(np.array(alarms[delta], dtype=int) // LOOK)
        ratios[hit[hit < len(looks)]] = -np.log(delta)
    return Told(looks, ratios)


def factor(told: Sequence[Told], allowed: float) -> float:
    """The smallest one above which at most this part of the drift-free stretches has an alarm."""
    heights = np.sort([each.quiet for each in told])[::-1]
    return float(heights[int(allowed * len(heights))])


def run(scale: float, seed: int) -> dict[str, Any]:
    many = max(2, round(SEEDS * scale))
    found: dict[str, dict[str, list[Told]]] = {tool: {} for tool in TOOLS}
    for each in range(many):
        with tempfile.TemporaryDirectory() as folder:
            rows = CHANGE + AFTER
            made = peers.streams(Path(folder), seed=100 * seed + each, rows=rows, change=CHANGE)
            watched = [case(name, path) for name, path in made.items()]
        windows = [(int(end) - ROWS, int(end)) for end in _seldom()]
        told = {
            "slipway": [_ours(one) for one in watched],
            "ADWIN": [_adwin(alarms) for alarms in peers.adwin(watched, DELTAS)],
            "NannyML": [_windowed(beyond) for beyond in peers.nannyml(watched, windows)],
            "Evidently": [_windowed(peers.evidently(one, windows)) for one in watched],
        }
        for tool, of in told.items():
            for one, said in zip(watched, of, strict=True):
                found[tool].setdefault(one.name, []).append(said)
    return _told(found, many)


def _told(found: dict[str, dict[str, list[Told]]], many: int) -> dict[str, Any]:
    pooled = {tool: [told for of in found[tool].values() for told in of] for tool in TOOLS}
    false = {tool: float(np.mean([told.quiet > 1.0 for told in pooled[tool]])) for tool in ("slipway", "NannyML", "Evidently")}
    default = -np.log(peers.DELTA)
    false["ADWIN"] = float(np.mean([told.quiet >= default - 1e-9 for told in pooled["ADWIN"]]))
    allowed = max(FALSE, false["slipway"])
    factors = {tool: 1.0 if tool == "slipway" else factor(pooled[tool], allowed) for tool in TOOLS}
    rows: list[list[object]] = []
    summary: dict[str, dict[str, float]] = {}
    ratios = []
    for name in found["slipway"]:
        delays = {tool: _mean([told.delay(factors[tool]) for told in found[tool][name]]) for tool in TOOLS}
        missed = {tool: sum(np.isnan(told.delay(factors[tool])) for told in found[tool][name]) for tool in TOOLS}
        best = min(delays[tool] for tool in TOOLS[1:])
        ratios.append(delays["slipway"] / best)
        summary[name] = delays
        cells = [f"{delays[tool]:.0f}" + (f" ({missed[tool]} of {many} missed)" if missed[tool] else "") for tool in TOOLS]
        rows.append([name, *cells, f"{ratios[-1]:.2f}"])
    mean = float(np.exp(np.mean(np.log(ratios))))
    worst = max(ratios)
    return {
        "title": f"Rows from the change to the first alarm, mean of {many} streams each, looks every {LOOK} rows (never: {AFTER})",
        "columns": ["stream", *TOOLS, "ours to the best of the others"],
        "rows": rows,
        "more": [
            {
                "title": f"False alarms: part of {len(pooled['slipway'])} drift-free stretches of {QUIET - ROWS} rows with any, by default; and what was done about it",
                "columns": ["tool", "by default", "threshold set to"],
                "rows": [[tool, f"{100 * false[tool]:.0f} %", _set(tool, factors[tool])] for tool in TOOLS],
            }
        ],
        "summary": {"delays": summary, "false": false, "factors": factors},
        "targets": [
            {
                "what": "delay, ours to the best of the others at equal false alarms, geometric mean",
                "wanted": "<= 1.00",
                "measured": round(mean, 2),
            },
            {"what": "the same, worst stream", "wanted": "<= 1.00", "measured": round(worst, 2)},
        ],
    }


def _set(tool: str, value: float) -> str:
    if tool == "slipway":
        return "as it comes"
    return f"delta below {np.exp(-value):.0e}" if tool == "ADWIN" else f"{value:.2f} of its own"


def _mean(delays: Sequence[float]) -> float:
    """What was never told counts as the whole stretch."""
    return float(np.mean([AFTER if np.isnan(delay) else delay for delay in delays]))
