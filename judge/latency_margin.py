"""Is the challenger fast enough to promote? For each guarded quantile: fewer than so many of its answers lie beyond it.

"Too slow" at quantile q means that the challenger's answers beyond y are at least as frequent as the champion's beyond x, its q-quantile, where y
is x and the margin. That is refuted by betting that they are rarer: as rare as the champion's own answers beyond y were in the past, or, since both
versions may have been slow together since then, less rare than that. judge.md section 8.

x lies inside a bin. The part of that bin's answers that lies beyond it is as large as makes up 1 - q of the champion's past; a champion's answer
there multiplies by the mean of what it would on either side, so no answer has to be told which side it is on. A bin that straddles y counts
against the challenger.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, expm1, log, log1p
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import bins
from .maths import FLOATS, Floats
from .policy import LatencyGuard
from .records import Row
from .samples import Counts

Ints = NDArray[np.int64]

POWERS = (1.0, 0.6)  # of the expected ratio of frequencies
# And these, whatever is expected: an incident that makes both versions slow for a second ruins whoever bet that the challenger's slow answers
# are fifty times as rare, and takes little from a bet on these.
RATIOS = (0.5, 0.8)
WEIGHTS = (0.5, 0.15, 0.2, 0.15)
KNOWN_REQUESTS = 200.0  # as which the expected frequencies count in a forecast
KNOWN_BEYOND = 10.0  # so many answers beyond a quantile tell where it lies
DOUBT = 0.25  # standard errors of the part beyond a quantile, as it was counted, by which x is taken farther out
MOST = 0.95  # a ratio nearer to one would take for ever: the distribution has a step there

_FRESH: Row = (0.0, *(log(weight) for weight in WEIGHTS))  # the evidence, and the wealth on each bet


class Cuts(NamedTuple):
    """Per quantile. champion: the bin in which it lies. part: of the answers in that bin, those beyond it. challenger: the first bin beyond the cut.
    above / inside / far: of the champion's past, the parts in bins later than the quantile's, in that one, and beyond the cut. log_tilts: for each bet,
    of an answer beyond the cut and of one before it."""

    champion: Ints
    part: Floats
    challenger: Ints
    above: Floats
    inside: Floats
    far: Floats
    log_tilts: tuple[tuple[tuple[float, float], ...], ...]


class Rates(NamedTuple):
    """At one quantile. far: the part of the challenger's answers beyond its cut. above / inside: as of `Cuts`, of what the champion answers now."""

    far: float
    above: float
    inside: float


def fresh(guard: LatencyGuard) -> tuple[Row, ...]:
    """One row per guarded quantile, of a rollout about which nothing is known."""
    return (_FRESH,) * len(guard.quantiles_pct)


def promotion(rows: tuple[Row, ...]) -> float:
    """Of the guarded quantile that has least."""
    return min(row[0] for row in rows)


def log_atoms(row: Row) -> Row:
    return row[1:]


def telling_requests(guard: LatencyGuard) -> float:
    """So many of the champion's answers tell all its quantiles."""
    return KNOWN_BEYOND / (1.0 - guard.quantiles_pct[-1] / 100.0)


@lru_cache(maxsize=512)
def cuts(reference: Counts, guard: LatencyGuard) -> Cuts:
    """From the champion's past, which is not empty."""
    pairs, counts = np.array(reference), np.zeros(bins.BINS)
    counts[pairs[:, 0]] = pairs[:, 1]
    below = np.cumsum(counts)
    total = below[-1]
    beyond = 1.0 - np.array(guard.quantiles_pct) / 100.0
    beyond = beyond - np.minimum(DOUBT * np.sqrt(beyond * (1.0 - beyond) / total), beyond / 2.0)
    champion = np.clip(np.searchsorted(below, (1.0 - beyond) * total), 1, bins.BINS - 1)
    above, inside = (total - below[champion]) / total, counts[champion] / total
    part = np.clip((beyond - above) / np.maximum(inside, 1e-300), 0.0, 1.0)
    edges_us = np.append(bins.lower_us(), np.inf)
    edge_us = edges_us[champion] + (1.0 - part) * np.where(champion < bins.BINS - 1, np.diff(edges_us)[champion], 0.0)
    far_us = np.maximum(edge_us * (1.0 + guard.margin_pct / 100.0), edge_us + 1000.0 * guard.margin_ms)
    challenger = np.maximum(np.searchsorted(bins.lower_us(), far_us * (1.0 + 1e-12), side="right") - 1, champion)
    found = (above + part * inside) * total
    rate = (found + 0.5) / (total + 1.0)
    far = (total - below[challenger - 1] + 0.5) / (total + 1.0)
    ratio = np.minimum(far * (total + 1.0) / (found + 1.0), MOST)
    times = np.column_stack([ratio[:, None] ** np.array(POWERS), np.tile(RATIOS, (len(ratio), 1))])
    log_tilts = np.log(np.stack([times, (1.0 - times * rate[:, None]) / (1.0 - rate[:, None])], axis=2))
    return Cuts(champion, part, challenger, above, inside, far, tuple(tuple(map(tuple, each)) for each in log_tilts.tolist()))


def after(rows: tuple[Row, ...], at: Cuts, challenger: Floats, champion: Floats) -> tuple[Row, ...]:
    """One window later; counts of both arms over all bins (BINS,)."""
    n1, n0 = float(challenger.sum()), float(champion.sum())
    beyond1 = challenger[::-1].cumsum()[bins.BINS - 1 - at.challenger].tolist()
    later0, inside0 = champion[::-1].cumsum()[bins.BINS - 1 - at.champion], champion[at.champion]
    sides0 = zip((later0 - inside0).tolist(), inside0.tolist(), strict=True)
    found: list[Row] = []
    for number, (row, y1, (above0, in0)) in enumerate(zip(rows, beyond1, sides0, strict=True)):
        gains = log_gains(at, number, (y1, n1 - y1), (above0, in0, n0 - above0 - in0))
        atoms = [atom + gain for atom, gain in zip(log_atoms(row), gains, strict=True)]
        found.append((FLOATS.log_sum(atoms), *atoms))
    return tuple(found)


def rates(at: Cuts, challenger: Floats | None = None, champion: Floats | None = None) -> list[Rates]:
    """How answers fall beside the cuts, from counts over all bins as far as they tell it, else as in the champion's past."""
    far, above, inside = at.far, at.above, at.inside
    if challenger is not None:
        far = _leaning(far, challenger[::-1].cumsum()[bins.BINS - 1 - at.challenger], challenger.sum())
    if champion is not None:
        later = champion[::-1].cumsum()[bins.BINS - 1 - at.champion] - champion[at.champion]
        above = _leaning(above, later, champion.sum())
        inside = _leaning(inside, champion[at.champion], champion.sum())
    return [Rates(*each) for each in zip(far.tolist(), above.tolist(), inside.tolist(), strict=True)]


def _leaning(expected: Floats, counted: Floats, requests: float) -> Floats:
    found: Floats = (counted + KNOWN_REQUESTS * expected) / (requests + KNOWN_REQUESTS)
    return found


def log_gains(at: Cuts, number: int, challenger: tuple[float, float], champion: tuple[float, float, float]) -> list[float]:
    """What these answers multiply the wealth by at a quantile, as logarithms, one for each bet. challenger: beyond its cut and before it.
    champion: in later bins than the quantile's, in that one, and in earlier ones.

    An answer beyond the cut is bet to be the champion's, one before it to be the challenger's: formula (1) of judge.md with two outcomes,
    whose tilts fall as latencies rise."""
    far1, near1 = challenger
    above0, in0, below0 = champion
    share = (far1 + near1) / (far1 + near1 + above0 + in0 + below0)
    part = float(at.part[number])
    found: list[float] = []
    for beyond, before in at.log_tilts[number]:
        far, near = -log1p(share * expm1(beyond)), -log1p(share * expm1(before))
        either = log(part * exp(far) + (1.0 - part) * exp(near))
        found.append((beyond + far) * far1 + (before + near) * near1 + far * above0 + either * in0 + near * below0)
    return found
