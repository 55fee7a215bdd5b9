"""What people read of the latencies: the guarded quantiles on both sides, how far apart they are, and how long a pass will take.

Called by `findings`. Nothing is decided on these numbers.
"""

from __future__ import annotations

from math import ceil, log

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from . import bins, forecast, interval, latency_margin, slowdowns
from .latency import KNOWN_REQUESTS, Evidence
from .policy import LatencyGuard, Policy
from .samples import Counts
from .verdict import Effect, Measure

Floats = NDArray[np.float64]


def report(
    evidence: Evidence, policy: Policy, guard: LatencyGuard, champion: Counts, challenger: Counts
) -> tuple[Effect, tuple[Measure, ...], int | None]:
    """Ratio at the guarded quantile that is most slowed down, all guarded quantiles in ms, and challenger requests still missing for a
    pass (None: cannot tell). champion / challenger: the answers that arrived while both were judged."""
    parts = np.array(guard.quantiles_pct) / 100.0
    base, tried = slowdowns.dense(champion), slowdowns.dense(challenger)
    if not base.any() or not tried.any():
        return Effect(None, None, None, f"p{guard.quantiles_pct[-1]:g} latency"), (), None
    quantiles = [_quantiles_ms(counts, parts) for counts in (base, tried)]
    names = [f"p{q:g}" for q in guard.quantiles_pct]
    measures = tuple(
        Measure(f"{name}_ms", float(one), float(other)) for name, one, other in zip(names, *quantiles, strict=True)
    )
    most = int(np.argmax(quantiles[1] / quantiles[0]))
    doubt = (1.0 - interval.CONFIDENCE) / 2.0
    (low0, high0), (low1, high1) = (_limits_ms(counts, parts[most], doubt) for counts in (base, tried))
    effect = Effect(
        float(quantiles[1][most] / quantiles[0][most]),
        low1 / high0 if high0 is not None else None,
        high1 / low0 if high1 is not None and low0 > 0.0 else None,
        f"{names[most]} latency",
    )
    return effect, measures, _more(evidence, policy, guard, champion, challenger)


def _more(evidence: Evidence, policy: Policy, guard: LatencyGuard, champion: Counts, challenger: Counts) -> int | None:
    base, tried = slowdowns.dense(champion), slowdowns.dense(challenger)
    if not evidence.measured:
        return None
    share = float(tried.sum() / (tried.sum() + base.sum()))
    at = latency_margin.cuts(evidence.measured, guard)
    rates = latency_margin.rates(at, tried, base)
    more = forecast.latency_to_pass(policy, evidence.margins, at, share, rates)
    waiting = latency_margin.telling_requests(guard) - base.sum()
    if waiting <= 0.0 or base.sum() < KNOWN_REQUESTS:
        return more
    # soon the quantiles are taken from what came beside the challenger
    soon = latency_margin.cuts(champion, guard)
    rates = latency_margin.rates(soon, tried, base)
    then = forecast.latency_to_pass(policy, evidence.margins, soon, share, rates)
    others = [] if then is None else [then + ceil(waiting * share / (1.0 - share))]
    return min([*others, *([] if more is None else [more])], default=None)


def _quantiles_ms(counts: Floats, parts: Floats) -> Floats:
    """Interpolated inside the bin."""
    below = np.concatenate([[0.0], np.cumsum(counts)])
    wanted = parts * below[-1]
    at = np.minimum(np.searchsorted(below, wanted, side="left"), bins.BINS) - 1
    at = np.maximum(at, 0)
    lower = bins.lower_us()
    upper = np.append(lower[1:], lower[-1] * 1.1)
    inside = (wanted - below[at]) / np.maximum(counts[at], 1e-300)
    found: Floats = (lower[at] + np.clip(inside, 0.0, 1.0) * (upper[at] - lower[at])) / 1000.0
    return found


def _limits_ms(counts: Floats, part: float, doubt: float) -> tuple[float, float | None]:
    """Where a quantile lies, at all looks together: between the bin edges where "a part of the answers are below" cannot be refuted by a
    Beta(1/2, 1/2) mixture. None: no upper limit yet."""
    below = np.cumsum(counts)
    total = below[-1]
    mixture = betaln(below + 0.5, total - below + 0.5) - betaln(0.5, 0.5)
    refuted = mixture - (below * log(part) + (total - below) * log(1.0 - part)) >= -log(doubt)
    edges = np.append(bins.lower_us()[1:], np.inf) / 1000.0  # counts[: k + 1] lie below edges[k]
    too_low = refuted & (below < part * total)
    too_high = refuted & (below > part * total)
    low = float(edges[np.flatnonzero(too_low)[-1]]) if too_low.any() else 0.0
    high = float(edges[np.flatnonzero(too_high)[0]]) if too_high.any() else np.inf
    return low, high if high < np.inf else None  # the last bin has no end
