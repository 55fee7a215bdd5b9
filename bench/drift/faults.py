"""Data that break: is it said, of which column, and does anything crash? Flights of April, one fault at a time.

Evidently is asked for its whole report, as a user would, so that what raises raises. Called by `bench_drift`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.drift import cases, ours, peers
from bench.drift.cases import Case
from monitoring.drift import calibration
from monitoring.reports import checks, child

ROWS = 5000
STEP = 100
REFERENCE = 5000  # rows that are published with a version for Evidently's reports
NUMBER, CATEGORY = "wind_speed", "carrier"
Calibrations = dict[tuple[float, float], calibration.Calibration]
Fault = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _nulls(rows: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:
    return rows.assign(**{NUMBER: rows[NUMBER].where(chance.random(len(rows)) >= 0.4)})


def _missing(rows: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001 - as every fault
    return rows.drop(columns=[NUMBER])


def _empty(rows: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001 - as every fault
    return rows.assign(**{NUMBER: np.nan})


def _thousand(rows: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:
    return rows.assign(**{NUMBER: rows[NUMBER].where(chance.random(len(rows)) >= 0.01, rows[NUMBER] * 1000)})


def _unit(rows: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001 - as every fault
    return rows.assign(distance=rows["distance"] * 1.609344)


def _category(rows: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:
    return rows.assign(**{CATEGORY: rows[CATEGORY].where(chance.random(len(rows)) >= 0.03, "XX")})


FAULTS: tuple[tuple[str, str, Fault], ...] = (
    ("none", "", lambda rows, _: rows),
    ("40 % nulls", NUMBER, _nulls),
    ("the column is missing", NUMBER, _missing),
    ("the column is null in every row", NUMBER, _empty),
    ("1 % of the rows x 1000", NUMBER, _thousand),
    ("kilometres instead of miles", "distance", _unit),
    ("a new category in 3 % of the rows", CATEGORY, _category),
)


def run(scale: float, seed: int) -> dict[str, Any]:  # noqa: ARG001 - seven faults
    of = cases.flight_delays()
    spoilt = []
    for name, _, fault in FAULTS:
        live = fault(of.case.live[:ROWS], np.random.default_rng([seed, 5]))
        answers = of.estimator.predict_proba(live.reindex(columns=of.case.live.columns))
        spoilt.append(of.case.with_live(name, live, answers))
    others = [[_evidently(case) for case in spoilt], peers.nannyml(spoilt, [(0, ROWS)]), _adwin(spoilt)]
    calibrated: Calibrations = {}
    rows: list[list[object]] = []
    seen = 0
    for number, (name, column, _) in enumerate(FAULTS):
        verdict = ours.Ours(spoilt[number], STEP, calibrated=calibrated).look(ROWS).verdict
        seen += bool(column) and column in verdict.columns
        told = [_said(of[number], column, of[0]) for of in others]
        rows.append([name, column or "-", verdict.label.value, verdict.sentence, *told])
    faults = len(FAULTS) - 1
    return {
        "title": f"Data that break, in {ROWS} flights of April: what is said of the column",
        "columns": ["fault", "column", "slipway", "its sentence", "Evidently", "NannyML", "ADWIN"],
        "rows": rows,
        "summary": {"seen": seen, "faults": faults},
        "targets": [{"what": "faults told, with the column", "wanted": f">= {faults}", "measured": seen}],
    }


def _evidently(case: Case, known_rows: int = REFERENCE) -> peers.Beyond:
    """Its report on the two frames as they are, types declared from the reference."""
    os.environ["DO_NOT_TRACK"] = "1"
    known, live = case.frames()
    spread = known.iloc[np.linspace(0, len(known) - 1, known_rows).astype(int)].reset_index(drop=True)
    kinds: tuple[list[str], list[str]] = ([], [])
    for name in known:
        kinds[known[name].dtype.kind not in "biuf"].append(str(name))
    there = [[name for name in kind if name in live] for kind in kinds]
    pair = checks.Pair(live, spread[list(live)], tuple(there[0]), tuple(there[1]), (), {})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = child.scores(child.snapshot(pair).dict())
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return peers.Beyond({}, f"{type(error).__name__}: {error}")
    return peers.Beyond({score.column: np.array([2.0 if score.drifted else 0.0]) for score in scores})


def _adwin(spoilt: Sequence[Case]) -> list[peers.Beyond]:
    """Of the column that is spoilt, and without a fault of each: whether it says change within the window."""
    names = {column for _, column, _ in FAULTS if column}
    asked = [
        (number, column) for number, (_, spoils, _) in enumerate(FAULTS) for column in sorted({spoils} if spoils else names)
    ]
    there = [(number, column) for number, column in asked if column in spoilt[number].live]
    alarms = peers.adwin([_narrow(spoilt[number], [column]) for number, column in there])
    found: list[dict[str, NDArray[np.float64]]] = [{} for _ in spoilt]
    for (number, column), told in zip(there, alarms, strict=True):
        found[number][column] = np.array([2.0 if told[peers.DELTA] else 0.0])
    return [peers.Beyond(columns, "" if columns else "KeyError") for columns in found]


def _narrow(case: Case, columns: list[str]) -> Case:
    zeros = [np.zeros(len(side)) for side in (case.reference, case.live)]
    return Case(case.name, case.reference[columns], case.live[columns], zeros[0], zeros[1])


def _said(found: peers.Beyond, column: str, usual: peers.Beyond) -> str:
    """Of the spoilt column. usual: what is said without any fault."""
    if found.raised:
        return f"raises {found.raised.partition(':')[0]}"
    if not column:
        return f"flags {sum(bool(beyond[0] > 1.0) for beyond in found.columns.values())} of {len(found.columns)} columns"
    if column not in found.columns or found.columns[column][0] <= 1.0:
        return "not seen"
    always = column in usual.columns and usual.columns[column][0] > 1.0
    return "flagged, as without the fault" if always else "flagged"
