"""A year of flights: a model trained from January to March is asked from April to December. What is said when, and was it so?

Ours looks at the end of every day, as the control plane does all the time, and tells of the gravest of its windows. The truth (how many flights were late,
and how wrong the model was about it) is what labels would say; none of the tools but the last is given any. Called by `bench_drift`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.drift import cases, ours, peers
from monitoring.drift.verdict import Label
from pipelines import flights, recipes

STEP = 100
ROWS = 5000
KNOWN = (
    ("2013-06", "worse", "harm"),
    ("2013-07", "worse", "harm"),
    ("2013-12", "worse", "harm"),
    ("2013-09", "better", "gain"),
)
STORMS = 6  # days with most late flights
ALARMS = frozenset({Label.BENIGN, Label.HARMFUL, Label.BROKEN_DATA})


@dataclass(frozen=True)
class Day:
    """date, its flights (up to live row `end`), how many came late, the Brier score, and what was told at its end."""

    date: str
    end: int
    late: float
    predicted: float
    brier: float
    told: ours.Told

    @property
    def label(self) -> str:
        return self.told.verdict.label.value


def days(of: cases.Flights) -> list[Day]:
    live = of.rows[of.rows[flights.DEPARTS] >= recipes.month(4)].reset_index(drop=True)
    answers = of.case.live_answers[:, -1]
    wrong = (answers - live[flights.LATE].to_numpy()) ** 2
    dates = live[flights.DEPARTS].dt.strftime("%Y-%m-%d").to_numpy()
    ends = np.flatnonzero(np.append(dates[1:] != dates[:-1], True)) + 1
    watcher = ours.Ours(of.case, STEP)
    found, start = [], 0
    for end in map(int, ends):
        if end // STEP * STEP >= ROWS:
            part = slice(start, end)
            late, predicted = float(live[flights.LATE].to_numpy()[part].mean()), float(answers[part].mean())
            told = watcher.look(end // STEP * STEP)
            found.append(Day(str(dates[end - 1]), end, late, predicted, float(wrong[part].mean()), told))
        start = end
    return [day for day in found if day.date < "2014"]


def spells(found: list[Day]) -> list[tuple[Day, Day, int]]:
    """From the first to the last day of the same verdict, and how many."""
    runs: list[list[Day]] = []
    for day in found:
        if runs and runs[-1][-1].label == day.label:
            runs[-1].append(day)
        else:
            runs.append([day])
    return [(run[0], run[-1], len(run)) for run in runs]


def run(scale: float, seed: int) -> dict[str, Any]:  # noqa: ARG001 - there is one year
    of = cases.flight_delays()
    told = days(of)
    windows = [(day.end - ROWS, day.end) for day in told]
    evidently, nannyml = peers.evidently(of.case, windows), peers.nannyml([of.case], windows)[0]
    starts = np.array([0, *[day.end for day in told]])
    adwin = np.histogram(peers.adwin([of.case])[0][peers.DELTA], starts)[0]
    wrong = _labels(of, told)
    months: list[list[object]] = []
    table = pd.DataFrame(
        {
            "month": [day.date[:7] for day in told],
            "late": [day.late for day in told],
            "predicted": [day.predicted for day in told],
            "brier": [day.brier for day in told],
            "evidently": evidently.most >= 1.0,
            "half": evidently.share >= 0.5,
            "nannyml": nannyml.most > 1.0,
            "adwin": adwin > 0,
            "worse": wrong > 0,
            "better": wrong < 0,
        }
    )
    for month, rows in table.groupby("month"):
        labels = Counter(day.label for day in told if day.date.startswith(str(month)))
        said = ", ".join(f"{label} {many}" for label, many in labels.most_common())
        means = [f"{rows[name].mean():.3f}" for name in ("late", "predicted", "brier")]
        flags = [f"{int(rows[name].sum())}" for name in ("evidently", "half", "nannyml", "adwin", "worse", "better")]
        months.append([str(month), len(rows), *means, said, *flags])
    events = [
        [f"{first.date} to {last.date}", many, first.label, first.told.verdict.sentence]
        for first, last, many in spells(told)
        if first.told.alarm or many > 2
    ]
    worst = sorted(told, key=lambda day: -day.late)[:STORMS]
    storms = [
        [
            day.date,
            f"{100 * day.late:.0f} %",
            f"{100 * day.predicted:.0f} %",
            day.label,
            day.told.rows,
            day.told.verdict.sentence,
        ]
        for day in sorted(worst, key=lambda day: day.date)
    ]
    summer = next((day for day in told if "temp" in day.told.verdict.columns), None)
    return {
        "title": "A year of flights, by month: days on which it was said that something drifts or is broken",
        "columns": [
            "month",
            "days",
            "late",
            "predicted",
            "Brier",
            "slipway said (days)",
            "Evidently, any column",
            "half of them",
            "NannyML",
            "ADWIN",
            "labels: worse",
            "better",
        ],
        "rows": months,
        "more": [
            {
                "title": "What slipway said, in spells",
                "columns": ["from, to", "days", "verdict", "sentence on the first day"],
                "rows": events,
            },
            {
                "title": f"The {STORMS} days with most late flights",
                "columns": ["day", "late", "predicted", "verdict", "rows", "sentence"],
                "rows": storms,
            },
        ],
        "summary": {
            "days": [
                {
                    "date": day.date,
                    "label": day.label,
                    "late": day.late,
                    "predicted": day.predicted,
                    "brier": day.brier,
                    "harm": day.told.verdict.harm,
                    "ratios": {f.column: f.ratio for f in day.told.verdict.findings if f.compared},
                    "columns": day.told.verdict.columns,
                }
                for day in told
            ],
            "flags": {
                name: table[name].astype(int).tolist() for name in ("evidently", "half", "nannyml", "adwin", "worse", "better")
            },
        },
        "targets": [
            {
                "what": "summer's warmth is named (temp), from the first of June: days",
                "wanted": "<= 14",
                "measured": _since(summer, "2013-06-01"),
            },
            *(
                {
                    "what": f"{words}, were there labels: days in {month}",
                    "wanted": ">= 1",
                    "measured": int(table[name][table["month"] == month].sum()),
                }
                for month, name, words in KNOWN
            ),
        ],
    }


def _since(day: Day | None, start: str) -> str:
    return "never" if day is None else f"{(pd.Timestamp(day.date) - pd.Timestamp(start)).days}"


def _labels(of: cases.Flights, told: list[Day]) -> NDArray[np.float64]:
    """What the same code says of the labels alone, were they there: per day 1 if more flights come late than the model learned, -1 if fewer,
    0 if it says nothing."""
    early = (of.rows[flights.DEPARTS] < recipes.month(4)).to_numpy()
    sides = [
        pd.DataFrame({flights.LATE: rows[flights.LATE].to_numpy(dtype=float)}) for rows in (of.rows[early], of.rows[~early])
    ]
    nothing = [np.zeros(len(side)) for side in sides]
    watcher = ours.Ours(cases.Case("labels", sides[0], sides[1], nothing[0], nothing[1]), STEP)
    looks = [watcher.look(day.end // STEP * STEP) for day in told]
    return np.array([np.sign(look.verdict.findings[0].shift) if look.alarm else 0.0 for look in looks])
