"""PURE. One verdict on a window of one model version: is anything wrong, what, and does it matter? With the columns and a sentence.

Three questions in this order. Is the data whole? Nulls, values far outside of the reference, unseen categories and stuck columns are broken data,
by limits of effect with a confidence bound, since no model was made for them. Did anything move? Scores beyond the calibrated
thresholds. Does it matter? It is harmful if the predictions moved by much, or if features did on which the model depends; else benign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from . import calibration, scores, sentences
from .calibration import Calibration
from .limits import FAR, LOOSE, MORE_NULLS, STUCK, SURPRISES, UNSEEN, at_least
from .reference import Floats, Ints, Reference

LEAST_MOVED = (
    0.05  # share of a column's rows that moved beyond what chance moves in 19 of 20 windows; less is no drift, however sure
)
MOVED_PREDICTIONS = 0.10  # share of predictions that moved to other bins, beyond what chance moves
MOVED_FEATURES = 0.15  # the same of features, weighed by their importance


class Label(StrEnum):
    NONE = "none"
    BENIGN = "benign"
    HARMFUL = "harmful"
    BROKEN_DATA = "broken_data"
    NOT_ENOUGH_DATA = "not_enough_data"


class Break(StrEnum):
    NULLS = "nulls"
    EMPTY = "empty"
    FAR = "far"
    UNSEEN = "unseen"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Finding:
    """One column. ratio: above 1 it drifts: the largest of its scores to their thresholds, or of what surely moved to LEAST_MOVED if that is less. p: of
    this column alone. moved: share of rows in other bins beyond what chance moves. shift: of the mean in standard deviations. mean: of the
    window, in the column's unit, from bins; None where there is none. compared: False for clocks, whose scores raise no alarm. blind:
    it varies too much for an alarm in windows of this size."""

    column: str
    importance: float
    compared: bool
    jensen_shannon: float
    jensen_shannon_threshold: float
    kolmogorov_smirnov: float
    kolmogorov_smirnov_threshold: float
    wasserstein_threshold: float
    psi: float
    total_variation: float
    wasserstein: float
    ratio: float
    p: float
    moved: float
    shift: float
    mean: float | None
    reference_mean: float | None
    nulls: float
    reference_nulls: float
    unseen: float
    outside: float
    far: float
    drifts: bool
    blind: bool = False
    breaks: tuple[Break, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How the thresholds were found: for windows of so many rows, with this share of false alarms over the family; `windows` of that
    size fit into the reference. p_family: of the largest ratio."""

    rows: int
    false_alarms: float
    resamples: int
    windows: float
    tests: float
    p_family: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """findings: in the order of the profile's columns, the predictions last; none if there is not enough data. columns: the cause, the
    gravest first. harm: how far predictions, or important features, moved; 1 is the limit. clocks, left_out: each with why."""

    label: Label
    sentence: str
    rows: int
    columns: tuple[str, ...] = ()
    harm: float = 0.0
    findings: tuple[Finding, ...] = ()
    calibrated: Calibrated | None = None
    clocks: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


GRAVITY = (Label.NOT_ENOUGH_DATA, Label.NONE, Label.BENIGN, Label.HARMFUL, Label.BROKEN_DATA)


def gravest(verdicts: Sequence[Verdict]) -> int:
    """The place of the one to tell, of windows that end now, the longest first: of equal ones the longest."""
    return max(range(len(verdicts)), key=lambda place: (GRAVITY.index(verdicts[place].label), -place))


def rows_of(reference: Reference, counts: Ints) -> int:
    """Of a window: those of its fullest column, for a replica may have failed to count one."""
    return max(int(counts[start : start + size].sum()) for start, size in zip(reference.starts, reference.sizes, strict=True))


def judge(reference: Reference, counts: Ints, calibrated: Calibration | None, *, least: int) -> Verdict:
    """counts: of the window, flat, shape (reference.size,). calibrated: for windows of this size or smaller; None, or fewer than
    `least` rows: not enough data."""
    rows = rows_of(reference, counts)
    clocks = tuple((column.name, column.clock) for column in reference.columns if column.clock is not None)
    left_out = tuple(reference.left_out.items())
    if calibrated is None or rows < least:
        words = sentences.too_few(rows, least)
        return Verdict(Label.NOT_ENOUGH_DATA, words, rows, clocks=clocks, left_out=left_out)
    findings, p_family = _findings(reference, counts, rows, calibrated)
    told = Calibrated(
        rows=calibrated.rows,
        false_alarms=calibrated.false_alarms,
        resamples=calibrated.resamples,
        windows=calibrated.runs,
        tests=calibrated.tests,
        p_family=p_family,
    )
    label, harm = _label(findings)
    if label is Label.BROKEN_DATA:
        columns = tuple(f.column for f in sorted(findings, key=_gravest) if f.breaks)
    else:
        features = sorted((f for f in findings[:-1] if f.drifts), key=_most_telling)
        columns = tuple(f.column for f in (*findings[-1:], *features) if f.drifts)
    words = sentences.said(label.value, findings, columns)
    return Verdict(label, words, rows, columns, harm, findings, told, clocks, left_out)


def _label(findings: tuple[Finding, ...]) -> tuple[Label, float]:
    predictions = findings[-1]
    weighed = sum(f.importance * f.moved for f in findings[:-1] if f.drifts)
    own = predictions.moved if predictions.drifts else 0.0
    harm = max(own / MOVED_PREDICTIONS, weighed / MOVED_FEATURES)
    if any(f.breaks for f in findings):
        return Label.BROKEN_DATA, harm
    if not any(f.drifts for f in findings):
        return Label.NONE, harm
    return (Label.HARMFUL if harm >= 1.0 else Label.BENIGN), harm


def _gravest(finding: Finding) -> float:
    return -max(finding.nulls - finding.reference_nulls, finding.far, finding.unseen)


def _most_telling(finding: Finding) -> float:
    """What moved much is worth telling even where the model does not look at it."""
    return -finding.moved * (finding.importance + 0.05)


def _findings(reference: Reference, counts: Ints, rows: int, calibrated: Calibration) -> tuple[tuple[Finding, ...], float]:
    window, known = reference.padded(counts), reference.padded(reference.total)
    found = scores.scores(window, known, reference)
    compared = np.stack([found.jensen_shannon, found.kolmogorov_smirnov, found.wasserstein], axis=-1)
    p, asked, blind = calibrated.p_values(compared), calibration.family(reference), calibrated.blind(reference)
    moved = np.maximum(0.0, found.total_variation - calibrated.moved)
    surely = np.maximum(0.0, found.total_variation - calibrated.moved_surely)
    ratios = np.minimum((compared / calibrated.thresholds).max(axis=1), surely / LEAST_MOVED)
    breaks = _breaks(reference, window, rows, found, calibrated)
    known_nulls = scores.shares(known)[:, -1]
    findings = tuple(
        Finding(
            column=column.name,
            importance=float(reference.importance[index]),
            compared=bool(asked[index]),
            jensen_shannon=float(found.jensen_shannon[index]),
            jensen_shannon_threshold=float(calibrated.thresholds[index, 0]),
            kolmogorov_smirnov=float(found.kolmogorov_smirnov[index]),
            kolmogorov_smirnov_threshold=float(calibrated.thresholds[index, 1]),
            wasserstein_threshold=float(calibrated.thresholds[index, 2]),
            psi=float(found.psi[index]),
            total_variation=float(found.total_variation[index]),
            wasserstein=float(found.wasserstein[index]),
            ratio=float(ratios[index]),
            p=float(p[index]),
            moved=float(moved[index]),
            shift=float(found.shift[index]),
            mean=_mean(column.mean, float(found.shift[index]) * column.std),
            reference_mean=_mean(column.mean, 0.0),
            nulls=float(found.nulls[index]),
            reference_nulls=float(known_nulls[index]),
            unseen=float(found.unseen[index]),
            outside=float(found.outside[index]),
            far=float(found.far[index]),
            drifts=bool(asked[index] and ratios[index] > 1.0),
            blind=bool(asked[index] and blind[index]),
            breaks=breaks[index],
        )
        for index, column in enumerate(reference.columns)
    )
    smallest = float(p[asked].min(initial=1.0))
    return findings, calibrated.p_family(smallest)


def _mean(known: float, change: float) -> float | None:
    return None if np.isnan(known) else known + change


def _breaks(
    reference: Reference, window: Floats, rows: int, found: scores.Scores, calibrated: Calibration
) -> list[tuple[Break, ...]]:
    surprise = np.array([column.surprise for column in reference.columns])
    nulls = at_least(found.nulls, rows) > calibrated.nulls + MORE_NULLS
    empty = nulls & (found.nulls == 1.0)
    far = at_least(found.far, rows) > np.maximum(FAR, SURPRISES * surprise) * reference.ordered
    far &= reference.ordered
    unseen = at_least(found.unseen, rows) > np.maximum(UNSEEN, SURPRISES * surprise)
    inside = scores.shares(window)[:, :-1] * reference.closed
    stuck = (inside.max(axis=1) >= STUCK) & (calibrated.top <= LOOSE)
    return [
        tuple(
            name
            for name, hit in (
                (Break.EMPTY, empty[index]),
                (Break.NULLS, nulls[index] and not empty[index]),
                (Break.FAR, far[index]),
                (Break.UNSEEN, unseen[index]),
                (Break.STUCK, stuck[index]),
            )
            if hit
        )
        for index in range(len(reference.columns))
    ]
