"""Is the challenger fast enough to promote? For each guarded quantile: fewer than so many of its answers lie beyond it.

"Too slow" at quantile q means that the challenger's answers beyond y are at least as frequent as the champion's beyond x, its q-quantile, where y
is x and the margin. That is refuted by betting that they are rarer, as rare as the champion's own answers beyond y were in the
past. x is the lower edge of the bin in which the quantile lay in the past; a bin that straddles y counts against the challenger. judge.md section 8.
"""

from __future__ import annotations

from functools import lru_cache
from math import expm1, log, log1p
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import bins
from .maths import FLOATS, Floats
from .policy import LatencyGuard
from .records import Row
from .samples import Counts

Ints = NDArray[np.int64]

POWERS = (1.0, 0.6, 1.4)  # of the expected ratio of frequencies
WEIGHTS = (0.6, 0.2, 0.2)
KNOWN_REQUESTS = 200.0  # as which the expected frequencies count in a forecast
MOST = 0.95  # a ratio nearer to one would take for ever: the distribution has a step there

_FRESH: Row = (0.0, *(log(weight) for weight in WEIGHTS))  # the evidence, and the wealth on each power


class Cuts(NamedTuple):
    """Per quantile: the first bin beyond the cut for each arm (of the champion the bin in which the quantile lies), how many of the champion's answers lie beyond, and the expected ratio.
    log_tilts: for each quantile and power, of an answer beyond the cut and of one before it."""

    champion: Ints
    challenger: Ints
    rate: Floats
    ratio: Floats
    log_tilts: tuple[tuple[tuple[float, float], ...], ...]


def fresh(guard: LatencyGuard) -> tuple[Row, ...]:
    """One row per guarded quantile, of a rollout about which nothing is known."""
    return (_FRESH,) * len(guard.quantiles_pct)


def promotion(rows: tuple[Row, ...]) -> float:
    """Of the guarded quantile that has least."""
    return min(row[0] for row in rows)


def log_atoms(row: Row) -> Row:
    return row[1:]


@lru_cache(maxsize=512)
def cuts(reference: Counts, guard: LatencyGuard) -> Cuts:
    """From the champion's past, which is not empty."""
    pairs = np.array(reference)
    below = np.zeros(bins.BINS)
    below[pairs[:, 0]] = pairs[:, 1]
    below = np.cumsum(below)
    total = below[-1]
    champion = np.searchsorted(below, np.array(guard.quantiles_pct) / 100.0 * total)
    champion = np.clip(champion, 1, bins.BINS - 1)
    edge_us = bins.lower_us()[champion]
    far_us = np.maximum(edge_us * (1.0 + guard.margin_pct / 100.0), edge_us + 1000.0 * guard.margin_ms)
    challenger = np.maximum(np.searchsorted(bins.lower_us(), far_us * (1.0 + 1e-12), side="right") - 1, champion)
    beyond, far = total - below[champion - 1], total - below[challenger - 1]
    rate = (beyond + 0.5) / (total + 1.0)
    ratio = np.minimum((far + 0.5) / (beyond + 1.0), MOST)
    times = ratio[:, None] ** np.array(POWERS)
    log_tilts = np.log(np.stack([times, (1.0 - times * rate[:, None]) / (1.0 - rate[:, None])], axis=2))
    return Cuts(champion, challenger, rate, ratio, tuple(tuple(map(tuple, each)) for each in log_tilts.tolist()))


def after(rows: tuple[Row, ...], at: Cuts, challenger: Floats, champion: Floats) -> tuple[Row, ...]:
    """One window later; counts of both arms over all bins (BINS,). An answer beyond the cut is bet to be the champion's, one before it to be the
    challenger's: formula (1) of judge.md with two outcomes, whose tilts fall as latencies rise."""
    n1, n0 = float(challenger.sum()), float(champion.sum())
    share = n1 / (n1 + n0)
    above1 = challenger[::-1].cumsum()[bins.BINS - 1 - at.challenger].tolist()
    above0 = champion[::-1].cumsum()[bins.BINS - 1 - at.champion].tolist()
    found: list[Row] = []
    for row, y1, y0, tilts in zip(rows, above1, above0, at.log_tilts, strict=True):
        atoms = [
            atom
            + beyond * y1
            + before * (n1 - y1)
            - log1p(share * expm1(beyond)) * (y1 + y0)
            - log1p(share * expm1(before)) * (n1 + n0 - y1 - y0)
            for atom, (beyond, before) in zip(log_atoms(row), tilts, strict=True)
        ]
        found.append((FLOATS.log_sum(atoms), *atoms))
    return tuple(found)
