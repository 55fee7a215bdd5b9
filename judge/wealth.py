"""The wealth of mixtures of bets, in logarithms, with cash kept back for regressions that start late. One row per rollout.

Called by the kernels of the guards, which know what to bet on; this module only keeps the books. Wealth is an e-process as long as
every factor has expectation at most one under the null, given the past and the request counts of its window. It must never see
which outcome a window had before the cash is invested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Of the wealth 15 % starts as cash. After N requests (1 + N/1000)^-1/2 of it is left; the rest was spread over all starting
# times before, evenly on a logarithmic scale: requests, not minutes, so that a slow service restarts as often as a busy one,
# and a window cut in two invests exactly what the whole window would have.
CASH = 0.15
RESTART_REQUESTS = 1000.0
RESTART_POWER = 0.5


def invest(log_atoms: Floats, log_cash: Floats, age: Floats, requests: Floats, log_weights: Floats) -> None:
    """Put the part of the cash that `requests` more requests release on the alternatives by their weights, in place.

    Shapes: log_atoms (R, J), log_weights (J,), the others (R,). Where no request came, nothing changes.
    """
    older = age + requests
    left = RESTART_POWER * (np.log1p(age / RESTART_REQUESTS) - np.log1p(older / RESTART_REQUESTS))  # log of the part kept
    released = log_cash + np.log(np.maximum(-np.expm1(left), 1e-300))
    np.logaddexp(log_atoms, released[:, None] + log_weights, out=log_atoms)
    log_cash += left
    age[...] = older


def log_sums(log_atoms: Floats, starts: Sequence[int]) -> Floats:
    """Logarithm of the sum of each group of neighbouring atoms, shape (R, groups). starts: where each group begins."""
    top = log_atoms.max(axis=1, keepdims=True)
    # Groups may lie far apart: what is 700 below the largest atom of all is lifted by its own group's maximum.
    tops = np.maximum.reduceat(log_atoms, starts, axis=1)
    if (tops < top - 600.0).any():
        lengths = np.diff([*starts, log_atoms.shape[1]])
        sums = np.add.reduceat(np.exp(log_atoms - np.repeat(tops, lengths, axis=1)), starts, axis=1)
        found: Floats = tops + np.log(sums)
        return found
    near: Floats = top + np.log(np.add.reduceat(np.exp(log_atoms - top), starts, axis=1))
    return near
