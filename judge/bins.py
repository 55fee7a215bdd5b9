"""The bins in which latencies are counted: OpenHistogram's, log-linear with two significant digits.

Envoy keeps its histograms in them (libcircllhist), so nothing is lost between the gateway and the judge. Bin number i >= 1 covers
[m, m + 1) * 10**e / 10 units of 10 microseconds with m = 10..99: 90 bins a decade, each at most 10 % wide. Bin 0 holds all
below 10 microseconds. https://openhistogram.io
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

PER_DECADE = 90
DECADES = 8  # from 10 microseconds to 1000 seconds
BINS = 1 + DECADES * PER_DECADE
_FIRST_US = 10.0


@cache
def lower_us() -> NDArray[np.float64]:
    """Where each bin begins, in microseconds, shape (BINS,). It ends where the next begins, the last one never."""
    numbers = np.arange(BINS - 1)
    edges = np.empty(BINS)
    edges[0] = 0.0
    edges[1:] = (10.0 + numbers % PER_DECADE) / 10.0 * _FIRST_US * 10.0 ** (numbers // PER_DECADE)
    edges.setflags(write=False)
    return edges


def index_of(latency_us: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """The bin of each latency in microseconds; negative ones count as zero."""
    found: NDArray[np.int64] = np.searchsorted(lower_us(), np.maximum(latency_us, 0.0), side="right") - 1
    return found
