"""Nothing is wasted at the threshold: evidence beyond 1/alpha buys nothing, so it is traded for reaching 1/alpha more often.

Given how many bad requests a window had on both arms together, the number on the challenger has a known law under the null. The
process may therefore be multiplied by the largest b >= 1 for which E[min(b M, A)] is still what it was before the window: judge.md formula (3);
Fischer and Ramdas, "Improving Wald's approximate sequential probability ratio test by avoiding overshoot", arXiv 2410.16076.
The result is a process for one threshold A. Called by `counts`, before the window's outcome is looked at other than by that sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import log

import numpy as np
from scipy.special import gammaln

from . import bet, wealth
from .bet import Window
from .maths import Floats, Maths, N

MOST_BAD = 300  # with more bad requests in one window the law is not worked out: the overshoot is small beside them
DEEP = 7.0  # below A by more than this factor's logarithm, one window hardly reaches it


def log_boost(
    maths: Maths[N],
    log_atoms: list[N],
    log_cash: N,
    times: Sequence[float],
    ratio: float,
    window: Window[N],
    log_cap: N,
) -> N:
    """Logarithm of b, zero where it is not worth while.

    log_atoms, log_cash: the wealth before the window. times: the alternatives. ratio: the null p1 = ratio * p0; one has the hypergeometric
    law, others the binomial one. log_cap: logarithm of A.
    """
    bad = window.x1 + window.x0
    top = reduce(maths.maximum, log_atoms)
    near = (bad > 0.0) & (bad <= MOST_BAD) & (top < log_cap) & (maths.maximum(top, log_cash) >= log_cap - DEEP)
    if not maths.some(near):
        return 0.0 * top
    # the most that the window may bring, if all bad requests were the challenger's: A is out of reach for a sum of parts below its part
    most = bet.on_ratio(maths, times, ratio, bet.Window(window.n1, bad, window.n0, 0.0 * bad, window.share))
    best = reduce(maths.maximum, wealth.won(log_atoms, most))
    near = near & (best >= log_cap - log(len(log_atoms) + 1.0))
    if not maths.some(near):
        return 0.0 * top
    at = np.flatnonzero(near)
    others = [log_cash, log_cap, window.n1, window.n0, bad]
    table = maths.rows(log_atoms + others)
    boosts = np.zeros((len(table), 1))
    boosts[at, 0] = _boosts(table[at, :-5], np.array(times), ratio, *table[at, -5:].T)
    return maths.numbers(boosts)[0]


def _boosts(
    log_atoms: Floats, times: Floats, ratio: float, log_cash: Floats, log_cap: Floats, n1: Floats, n0: Floats, bad: Floats
) -> Floats:
    """By row, shape (R,). log_atoms (R, J), times (J,), the others (R,)."""
    share, log_times = n1 / (n1 + n0), np.log(times)
    base = share * ratio + (1.0 - share)
    likelier = np.log((share[:, None] * (ratio * times) + (1.0 - share[:, None])) / base[:, None])
    settled = log_atoms - log_cap[:, None] - bad[:, None] * likelier
    numbers = np.arange(bad.max() + 1.0)
    law = _log_law(numbers, bad[:, None], n1[:, None], n0[:, None], ratio)
    grown = settled[:, :, None] + log_times[:, None] * numbers
    cash = np.exp(log_cash - log_cap)
    chance, worth = np.exp(law), np.exp(np.minimum(grown, 300.0)).sum(axis=1) + cash[:, None]  # in units of A
    before = np.exp(log_atoms - log_cap[:, None]).sum(axis=1) + cash
    reached = chance[:, ::-1].cumsum(axis=1)[:, ::-1]  # P(X >= x)
    beyond = np.concatenate([reached[:, 1:], np.zeros((len(bad), 1))], axis=1)  # P(X >= x + 1)
    below = (chance * worth).cumsum(axis=1)  # E[M; X <= x]
    candidates = np.where(below > 1e-200, (before[:, None] - beyond) / np.maximum(below, 1e-200), 0.0)
    found: Floats = np.where(before < 1.0, np.log(np.maximum(candidates.max(axis=1), 1.0)), 0.0)
    return found


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
