"""Nothing is wasted at the threshold: evidence beyond 1/alpha buys nothing, so it is traded for reaching 1/alpha more often.

Given how many bad requests a window had on both arms together, the number on the challenger has a known law under the null. The
process may therefore be multiplied by the largest b >= 1 for which E[min(b M, A)] is still what it was before the window: judge.md formula (3);
Fischer and Ramdas, "Improving Wald's approximate sequential probability ratio test by avoiding overshoot", arXiv 2410.16076.
The result is a process for one threshold A. Called by `counts`, before the window's outcome is looked at other than by that sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .bet import Counts

Floats = NDArray[np.float64]

MOST_BAD = 300  # with more bad requests in one window the law is not worked out: the overshoot is small beside them
DEEP = 7.0  # below A by more than this factor's logarithm, one window hardly reaches it


def log_boost(log_atoms: Floats, log_cash: Floats, times: Floats, ratio: float, window: Counts, log_cap: Floats) -> Floats:
    """Logarithm of b for each row, shape (R,), zero where it is not worth while.

    log_atoms (R, J), log_cash (R,): the wealth before the window. times (J,): the alternatives. ratio: the null p1 = ratio * p0; one has
    the hypergeometric law, others the binomial one. window: counts of shape (R, 1). log_cap (R,): logarithm of A.
    """
    bad = (window.x1 + window.x0)[:, 0]
    top = log_atoms.max(axis=1)
    near = (bad > 0.0) & (bad <= MOST_BAD) & (top < log_cap) & (np.maximum(top, log_cash) >= log_cap - DEEP)
    boosts = np.zeros(len(bad))
    if not near.any():
        return boosts
    n1, n0 = window.n1[near, 0], window.n0[near, 0]
    share, log_times, bad = n1 / (n1 + n0), np.log(times), bad[near]
    base = share * ratio + (1.0 - share)
    likelier = np.log((share[:, None] * (ratio * times) + (1.0 - share[:, None])) / base[:, None])
    settled = log_atoms[near] - log_cap[near, None] - bad[:, None] * likelier
    if not ((settled + bad[:, None] * log_times).max(axis=1) >= -1.0).any():  # it cannot get there in this window
        return boosts
    numbers = np.arange(bad.max() + 1.0)
    law = _log_law(numbers, bad[:, None], n1[:, None], n0[:, None], ratio)
    grown = settled[:, :, None] + log_times[:, None] * numbers
    cash = np.exp(log_cash[near] - log_cap[near])
    chance, worth = np.exp(law), np.exp(np.minimum(grown, 300.0)).sum(axis=1) + cash[:, None]  # in units of A
    before = np.exp(log_atoms[near] - log_cap[near, None]).sum(axis=1) + cash
    reached = chance[:, ::-1].cumsum(axis=1)[:, ::-1]  # P(X >= x)
    beyond = np.concatenate([reached[:, 1:], np.zeros((len(bad), 1))], axis=1)  # P(X >= x + 1)
    below = (chance * worth).cumsum(axis=1)  # E[M; X <= x]
    candidates = np.where(below > 1e-200, (before[:, None] - beyond) / np.maximum(below, 1e-200), 0.0)
    boosts[near] = np.where(before < 1.0, np.log(np.maximum(candidates.max(axis=1), 1.0)), 0.0)
    return boosts


def _log_law(numbers: Floats, bad: Floats, n1: Floats, n0: Floats, ratio: float) -> Floats:
    """Log-probability that `numbers` of the bad requests are the challenger's, given how many there are; -inf where impossible."""
    possible = (numbers <= np.minimum(bad, n1)) & (bad - numbers <= n0)
    others = np.where(possible, bad - numbers, 0.0)
    own = np.where(possible, numbers, 0.0)
    if ratio == 1.0:
        law = _log_choose(n1, own) + _log_choose(n0, others) - _log_choose(n1 + n0, bad)
    else:
        part = n1 * ratio / (n1 * ratio + n0)
        law = _log_choose(bad, own) + own * np.log(part) + others * np.log1p(-part)
    found: Floats = np.where(possible, law, -np.inf)
    return found


def _log_choose(n: Floats, k: Floats) -> Floats:
    chosen: Floats = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return chosen
