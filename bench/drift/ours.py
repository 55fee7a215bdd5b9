"""slipway's own verdicts on a case, by the product's code: profile, reference, calibration, verdict, and windows of all lengths at once.

Counts are summed over pieces of `step` rows, as the control plane sums what its replicas gained between two looks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.drift.cases import Case
from monitoring.drift import calibration, reference, verdict, windows
from registry import profile

ROWS = 5000  # of the longest window: the default of SLIPWAY_DRIFT_WINDOW_ROWS


@dataclass(frozen=True, slots=True)
class Told:
    """One look: what ends at row `end` of the live rows, the window that was told of, and the largest ratio over all windows."""

    end: int
    rows: int
    verdict: verdict.Verdict
    ratio: float

    @property
    def alarm(self) -> bool:
        return self.verdict.label not in {verdict.Label.NONE, verdict.Label.NOT_ENOUGH_DATA}


@dataclass
class Ours:
    """Watches one case. halves: windows of half, a quarter ... of `rows` are judged at once; without: only that one, with all of the false alarms. calibrated: by length and false alarms; may be shared by cases
    with the same reference."""

    case: Case
    step: int
    rows: int = ROWS
    halves: bool = True
    seed: int = 1
    calibrated: dict[tuple[float, float], calibration.Calibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        case = self.case
        columns = {name: case.reference[name].to_numpy() for name in case.reference}
        answers = case.reference_answers
        self.profile = profile.build(columns, answers, importance=case.importance, clocks=case.clocks)
        self.known = reference.read(json.dumps(self.profile.to_json()).encode())
        self.least = calibration.least_rows(self.known)
        self.lengths = windows.halves(self.rows, max(self.least, self.step)) if self.halves else (self.rows,)
        self._sums = self._summed()

    def counts(self, start: int, end: int) -> NDArray[np.int64]:
        """Of live rows; both ends lie between two pieces."""
        return np.asarray(self._sums[end // self.step] - self._sums[start // self.step])

    def told(self, ends: Iterable[int]) -> list[Told]:
        return [self.look(end) for end in ends]

    def look(self, end: int) -> Told:
        starts = [max(0, end - -(-rows // self.step) * self.step) for rows in self.lengths]
        places = [place for place, start in enumerate(starts) if start < end and start not in starts[:place]]
        verdicts = [self._judge(starts[place], end, place) for place in places]
        best = verdict.gravest(verdicts)
        ratio = max((finding.ratio for each in verdicts for finding in each.findings if finding.compared), default=0.0)
        return Told(end, end - starts[places[best]], verdicts[best], ratio)

    def _judge(self, start: int, end: int, place: int) -> verdict.Verdict:
        counts = self.counts(start, end)
        length = calibration.length_of(self.known, verdict.rows_of(self.known, counts))
        part = calibration.part(calibration.FALSE_ALARMS, place, len(self.lengths))
        key = length, part
        if length >= 1.0 and key not in self.calibrated:
            rows = end - start
            self.calibrated[key] = calibration.calibrate(self.known, rows, seed=self.seed, false_alarms=part)
        return verdict.judge(self.known, counts, self.calibrated.get(key), least=self.least)

    def _summed(self) -> NDArray[np.int64]:
        many = len(self.case.live) // self.step
        sums = np.zeros((many + 1, self.known.size), dtype=np.int64)
        for column, start in zip((*self.profile.features, self.profile.predictions), self.known.starts, strict=True):
            values = (
                profile.predictions(self.case.live_answers)[1]
                if column is self.profile.predictions
                else self.case.live[column.name].to_numpy()
                if column.name in self.case.live
                else np.full(len(self.case.live), np.nan)
            )
            size = len(column.blocks[0])
            places = column.places(values)[: many * self.step].reshape(many, self.step)
            flat = (places + np.arange(many)[:, None] * size).ravel()
            sums[1:, start : start + size] = np.bincount(flat, minlength=many * size).reshape(many, size)
        return np.asarray(np.cumsum(sums, axis=0))
