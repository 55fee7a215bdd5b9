"""Is the challenger fast enough to promote? For each guarded quantile: fewer than so many of its answers lie beyond it.

"Too slow" at quantile q means that the challenger's answers beyond y are at least as frequent as the champion's beyond x, its q-quantile, where y
is x and the margin. That is refuted by betting that they are rarer, as rare as the champion's own answers beyond y were in the
past. x is the lower edge of the bin in which the quantile lay in the past; a bin that straddles y counts against the challenger. judge.md section 8. One row per quantile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import bins
from .policy import LatencyGuard
from .records import HEAD, Records
from .samples import Counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POWERS = np.array([1.0, 0.6, 1.4])  # of the expected ratio of frequencies
WEIGHTS = np.array([0.6, 0.2, 0.2])
KNOWN_REQUESTS = 200.0  # as which the expected frequencies count in a forecast
MOST = 0.95  # a ratio nearer to one would take for ever: the distribution has a step there

RECORD = np.dtype([*HEAD, ("log_atoms", "f8", (len(POWERS),))])


class Cuts(NamedTuple):
    """Per quantile: the first bin beyond the cut for each arm (of the champion the bin in which the quantile lies), how many of the champion's answers lie beyond, and the expected ratio.
    log_tilts: of an answer beyond the cut and of one before it, for each quantile and power, shape (2, quantiles, powers)."""

    champion: Ints
    challenger: Ints
    rate: Floats
    ratio: Floats
    log_tilts: Floats


def fresh(quantiles: int) -> Records:
    found: Records = np.zeros(quantiles, RECORD)
    found["log_atoms"] = np.log(WEIGHTS)
    return found


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
    times = ratio[:, None] ** POWERS
    log_tilts = np.log(np.array([times, (1.0 - times * rate[:, None]) / (1.0 - rate[:, None])]))
    return Cuts(champion, challenger, rate, ratio, log_tilts)


def update(known: Records, at: Cuts, challenger: Floats, champion: Floats) -> None:
    """One window, in place; counts of both arms over all bins (BINS,). An answer beyond the cut is bet to be the champion's, one
    before it to be the challenger's: formula (1) of judge.md with two outcomes, whose tilts fall as latencies rise."""
    n1, n0 = challenger.sum(), champion.sum()
    above1 = challenger[::-1].cumsum()[bins.BINS - 1 - at.challenger]
    above0 = champion[::-1].cumsum()[bins.BINS - 1 - at.champion]
    beyond = np.array([above1, above0])
    hits = np.array([beyond, np.array([[n1], [n0]]) - beyond])  # (beyond the cut or not, arm, quantile)
    share = n1 / (n1 + n0)
    # one axis each for outcomes, quantiles and powers
    won = at.log_tilts * hits[:, 0, :, None] - np.log1p(share * np.expm1(at.log_tilts)) * hits.sum(axis=1)[:, :, None]
    known["log_atoms"] += won.sum(axis=0)
    known["promotion"] = np.logaddexp.reduce(known["log_atoms"], axis=1)
