"""How a version may be slower: alternatives to the champion's own latencies, as tilts of its histogram.

A tilt is the ratio of densities challenger / champion that is supposed for each group of bins. Any tilt that never falls with the
latency, and is flat below the floor quantile, is a fair bet against "slower at no quantile from the floor upwards", whatever the
champion's true latencies are; the histogram it is built from only decides how good a bet it is (judge.md sections 2 and 5).
Called by `latency`. Pure, and cached: the same past gives the same bets, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from . import bins
from .samples import Counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Groups of bins, at most 10 % wide, by the two digits at which they begin: OpenHistogram's bins get narrower than anyone needs.
_DIGITS = (10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 33, 36, 39, 42, 46, 50, 55, 60, 66, 72, 79, 86, 94)
STARTS: Ints = np.array([0, *(1 + decade * bins.PER_DECADE + d - 10 for decade in range(bins.DECADES) for d in _DIGITS)])
_EDGES_US: Floats = np.maximum(bins.lower_us()[STARTS], 1.0)
_LOG_EDGES: Floats = np.log(_EDGES_US)

FAR_BEYOND = 3.0  # the last group begins so many times beyond the slowest answer seen, and at least
FAR_MEDIANS = 60.0  # so many medians out
MIXED_IN = 0.02  # of the champion's own histogram in every alternative: a tilt is never zero
TRUSTED = 40.0  # answers in a group that count as much as what its neighbours lend
UNSEEN_DECAY = 0.85  # from group to group, of the chance of answers slower than any seen: that of a tail with index 1.7

# (kind, first parameter, second, weight). scale c: all answers c times as slow. add m: m medians more. part f m: a part f of the answers is m
# times as slow. path f m: a part f takes m medians more. spread f m: a part f takes between none and m medians more. stretch q g: the
# logarithm of the latency beyond quantile q grows g-fold. Chosen among fifty, and weighed, by expectation maximisation of the expected
# delay over 250 regressions of seven synthetic distributions; those of the benchmark and measured servers were kept for the test.
FAMILIES: tuple[tuple[str, float, float, float], ...] = (
    ("scale", 1.06, 0.0, 0.097),
    ("scale", 1.12, 0.0, 0.075),
    ("scale", 1.25, 0.0, 0.020),
    ("scale", 1.6, 0.0, 0.008),
    ("scale", 3.0, 0.0, 0.006),
    ("add", 0.1, 0.0, 0.100),
    ("add", 0.25, 0.0, 0.015),
    ("add", 0.6, 0.0, 0.006),
    ("part", 0.03, 4.0, 0.065),
    ("part", 0.30, 2.0, 0.008),
    ("path", 0.003, 40.0, 0.006),
    ("path", 0.01, 4.0, 0.036),
    ("path", 0.01, 15.0, 0.015),
    ("path", 0.03, 8.0, 0.008),
    ("path", 0.1, 2.0, 0.024),
    ("path", 0.1, 5.0, 0.006),
    ("spread", 0.02, 10.0, 0.072),
    ("spread", 0.05, 4.0, 0.062),
    ("stretch", 0.90, 1.15, 0.015),
    ("stretch", 0.90, 1.3, 0.200),
    ("stretch", 0.90, 1.6, 0.060),
    ("stretch", 0.95, 1.3, 0.100),
    ("stretch", 0.98, 2.0, 0.030),
)
SPREAD_PARTS = 8  # between none and all of it
# The last alternative is learned from what the challenger showed so far: the mixture of all the others that explains it best. As the prior,
# so many of its requests speak for no change, and so many for the others by their weights. A few suffice: real regressions are
# several at once, and what was learned from twenty requests already bets better than any single family.
UNCHANGED_REQUESTS = 2.0
CHANGED_REQUESTS = 4.0
LEARNED = 0.25  # of the weight
LEARNING_STEPS = 15  # of expectation maximisation; more change nothing that matters
_FAMILY_WEIGHTS: Floats = np.array([family[3] for family in FAMILIES])
_FAMILY_WEIGHTS = _FAMILY_WEIGHTS / _FAMILY_WEIGHTS.sum()
WEIGHTS: Floats = np.append((1.0 - LEARNED) * _FAMILY_WEIGHTS, LEARNED)


@dataclass(frozen=True)
class Dictionary:
    """champion / challenger: the first bin of each group (K,), the challenger's moved down by the tolerance. tilts (J, K) and their logarithms."""

    champion: Ints
    challenger: Ints
    tilts: Floats
    log_tilts: Floats

    def grouped(self, counts: Floats, *, challenger: bool) -> Floats:
        """Counts of shape (..., BINS) as (..., K). A group of the challenger's may be empty: its bins are wider than the tolerance is fine."""
        starts = self.challenger if challenger else self.champion
        below = counts.cumsum(axis=-1)
        found: Floats = np.diff(below[..., starts[1:] - 1], axis=-1, prepend=0.0, append=below[..., -1:])
        return found


def dense(counts: Counts) -> Floats:
    """Sparse counts over all bins, shape (BINS,)."""
    found = np.zeros(bins.BINS)
    if counts:
        indices, numbers = zip(*counts, strict=True)
        found[list(indices)] = numbers
    return found


def quantile_bin(counts: Floats, part: float) -> int:
    """The bin in which this quantile lies."""
    below = np.cumsum(counts)
    return int(np.searchsorted(below, part * below[-1]))


def quantile_us(counts: Floats, part: float) -> float:
    """The middle of that bin."""
    index = quantile_bin(counts, part)
    edges = bins.lower_us()
    return float((edges[index] + edges[min(index + 1, bins.BINS - 1)]) / 2.0)


@lru_cache(maxsize=512)
def build(reference: Counts, compared: Counts, floor_pct: float, tolerance_pct: float, tolerance_ms: float) -> Dictionary:
    """From the champion's past (not empty) and what the challenger showed so far (perhaps nothing)."""
    families = _families(reference, floor_pct, tolerance_pct, tolerance_ms)
    seen = families.grouped(dense(compared), challenger=True)
    tilts = np.vstack([families.tilts, _learned(families.tilts, seen)])
    return Dictionary(families.champion, families.challenger, tilts, np.log(tilts))


@lru_cache(maxsize=512)
def _families(reference: Counts, floor_pct: float, tolerance_pct: float, tolerance_ms: float) -> Dictionary:
    """All but the last alternative."""
    past, edges_us = dense(reference), bins.lower_us()
    floor, middle = (quantile_bin(past, part) for part in (floor_pct / 100.0, 0.5))
    median_us = edges_us[middle] + 1.0
    top_us = max(edges_us[int(np.flatnonzero(past)[-1])] * FAR_BEYOND, median_us * FAR_MEDIANS)
    last = min(int(np.searchsorted(_EDGES_US, top_us)), len(STARTS) - 1)
    known = _smooth(np.add.reduceat(past, STARTS), last)
    below = np.concatenate([[0.0], np.cumsum(known)])  # distribution at _EDGES_US and at infinity
    # the floor's own bin is the last that is not bet on, so the rest of its group is one more
    firsts = np.unique(np.append(STARTS[: last + 1], floor + 1))
    firsts = firsts[(firsts > floor) & (firsts < bins.BINS)]
    own = np.maximum(np.diff(_at(below, edges_us[firsts]), prepend=0.0, append=1.0), 1e-12)
    supposed = [_distribution(kind, a, b, below, edges_us[firsts], median_us) for kind, a, b, _ in FAMILIES]
    tilts = np.array([_rising(np.diff(cdf, prepend=0.0, append=1.0) / own, own) for cdf in supposed])
    starts = np.concatenate([[0], firsts])
    lower_us = edges_us[starts]
    # a bin of the challenger belongs where its lower edge lies once the tolerance is taken off
    tolerated_us = np.maximum(lower_us * (1.0 + tolerance_pct / 100.0), lower_us + 1000.0 * tolerance_ms)
    tolerated_us[0] = 0.0
    moved = np.searchsorted(edges_us, tolerated_us * (1.0 - 1e-12))
    moved = np.minimum(moved, bins.BINS - 1)
    return Dictionary(starts, moved, tilts, np.log(tilts))


def _learned(tilts: Floats, seen: Floats) -> Floats:
    """The likeliest mixture of the alternatives and no change, given the challenger's answers by group (K,). It rises as they do."""
    parts = np.vstack([np.ones(tilts.shape[1]), tilts])
    prior = np.append(UNCHANGED_REQUESTS, CHANGED_REQUESTS * _FAMILY_WEIGHTS)
    total = seen.sum() + prior.sum()
    shares = prior / prior.sum()
    for _ in range(LEARNING_STEPS if seen.any() else 0):
        shares = (shares * (parts @ (seen / (shares @ parts))) + prior) / total
    found: Floats = shares @ parts
    return found


def _smooth(counts: Floats, last: int) -> Floats:
    """Probabilities of the groups: neighbours lend to each other where little was seen, and slower answers than any so far have the
    chance of one in those seen (Good and Turing), falling off with the latency."""
    total = counts.sum()
    lent = counts
    for _ in range(2):
        lent = np.convolve(np.pad(lent, 2, mode="edge"), np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0, mode="valid")
    trust = counts / (counts + TRUSTED)
    smooth = trust * counts + (1.0 - trust) * lent
    seen = np.flatnonzero(counts)
    first, end = int(seen[0]), int(seen[-1])
    unseen = np.zeros_like(counts)
    steps = np.arange(max(last, end + 1) - end + 1, dtype=float)
    unseen[end : end + len(steps)] = UNSEEN_DECAY ** steps[: len(counts) - end]
    unseen[first:end] += 0.02
    smooth[end + 3 :] = 0.0
    found: Floats = (smooth / smooth.sum() * total + unseen / unseen.sum()) / (total + 1.0)
    return found


def _at(below: Floats, latency_us: Floats) -> Floats:
    """The champion's distribution function, from its values at the edges of the groups."""
    found: Floats = np.interp(np.log(np.maximum(latency_us, 1.0)), _LOG_EDGES, below[:-1])
    return found


def _distribution(kind: str, a: float, b: float, below: Floats, x: Floats, median_us: float) -> Floats:
    """The supposed distribution function at these latencies."""
    at = partial(_at, below)
    own = at(x)
    if kind == "scale":
        return at(x / a)
    if kind == "add":
        return at(x - a * median_us)
    if kind == "part":
        return (1.0 - a) * own + a * at(x / b)
    if kind == "path":
        return (1.0 - a) * own + a * at(x - b * median_us)
    if kind == "spread":
        steps = (np.arange(SPREAD_PARTS) + 0.5) / SPREAD_PARTS * b * median_us
        spread: Floats = (1.0 - a) * own + a * np.mean([at(x - step) for step in steps], axis=0)
        return spread
    knee = float(np.interp(a, below[:-1], _LOG_EDGES))
    log_x = np.log(x)
    return at(np.exp(np.where(log_x > knee, knee + (log_x - knee) / b, log_x)))


def _rising(ratios: Floats, weights: Floats) -> Floats:
    """The nearest tilt that never falls (pool adjacent violators), and is never zero."""
    fitted = isotonic_regression(ratios, weights=np.maximum(weights, 1e-12)).x
    found: Floats = (1.0 - MIXED_IN) * np.clip(fitted, 0.0, 1e6) + MIXED_IN
    return found
