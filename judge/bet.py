"""Bets on the arm, given the outcome: what a window multiplies the wealth by, as logarithms, one for each alternative.

Called by the kernels and by `forecast`. A bet is fair or worse for everyone in its null: with the realised share w of the window, A the
mean factor of a challenger request and B that of a champion request, w A + (1-w) B <= 1, hence A^n1 B^n0 <= 1 for any
rates of bad requests that hold during the window, and these may change from window to window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Generic

from .maths import Maths, N

_SURELY = 0.99  # no alternative supposes that more of the challenger's requests are bad


@dataclass(slots=True)
class Window(Generic[N]):
    """Requests n and bad requests x of the challenger (1) and of the champion (0), and the challenger's share of the requests."""

    n1: N
    x1: N
    n0: N
    x0: N
    share: N


def expected(champion_rate: float, challenger_rate: float, share: float) -> Window[float]:
    """What comes with one challenger request on average, at these rates of bad requests and this share."""
    rest = (1.0 - share) / share
    return Window(1.0, challenger_rate, rest, rest * champion_rate, share)


def on_ratio(maths: Maths[N], times: Sequence[float], ratio: float, of: Window[N]) -> list[N]:
    """Against p1 = ratio * p0, for rates that are `times` as far apart: judge.md formula (2). Only bad requests count.

    Alternatives above one refute "p1 <= ratio * p0", those below one "p1 >= ratio * p0".
    """
    log_, share, x1, bad = maths.log, of.share, of.x1, of.x1 + of.x0
    rest = 1.0 - share
    null = share * ratio + rest
    return [x1 * log(each) - bad * log_((share * (ratio * each) + rest) / null) for each in times]


def on_known_ratio(maths: Maths[N], times: Sequence[float], ratio: float, of: Window[N], rate: N) -> list[N]:
    """As `on_ratio`, where the rate of bad requests on both arms together is known from the past: healthy requests count as well.

    The likelihood ratio of the alternative with that pooled rate against the nearest pair of rates in the null, its reverse
    information projection, which makes it an e-variable whether the rate was known well or not (Turner and Gruenwald 2023, theorem 1: the
    null is convex). For rare bad requests it tends to `on_ratio`; at 30 % it needs a third fewer requests.
    """
    share, rest = of.share, 1.0 - of.share
    weighted, most = share * ratio, (1.0 - 1e-12) / max(ratio, 1.0)
    found: list[N] = []
    for each in times:
        bad1 = maths.minimum(rate * ratio * each / (weighted * each + rest), _SURELY)
        bad0 = maths.maximum(maths.minimum((rate - share * bad1) / rest, _SURELY), 1e-12)
        ok1, ok0 = 1.0 - bad1, 1.0 - bad0
        pooled = share * bad1 + rest * bad0
        # ratio q^2 - linear q + pooled = 0: where the likelihood along p1 = ratio * p0 = ratio * q is largest
        linear = pooled * (1.0 + ratio) + weighted * ok1 + rest * ok0
        root = 2.0 * pooled / (linear + maths.sqrt(maths.maximum(linear * linear - 4.0 * ratio * pooled, 0.0)))
        root = maths.minimum(root, most)
        told = (bad1 > ratio * bad0) == (each > 1.0)  # where rates end, an alternative may lie in the null: then nothing is bet
        found.append(told * _log_likelihoods(maths, of, (bad1, bad0), (ratio * root, root)))
    return found


def on_known_odds(maths: Maths[N], times: Sequence[N], odds: Sequence[float], of: Window[N], rate: N) -> list[N]:
    """Against "the odds are at most `odds` times the champion's" where times > 1, "at least" where times < 1.

    As `on_known_ratio`: both nulls are convex, and the nearest pair in them has the same pooled rate as the alternative, for it solves a
    logistic regression with a fixed slope.
    """
    found: list[N] = []
    for each, tolerated in zip(times, odds, strict=True):
        supposed, null = (_odds_apart(maths, apart, of.share, rate) for apart in (tolerated * each, tolerated + 0.0 * each))
        found.append(_log_likelihoods(maths, of, supposed, null))
    return found


def _log_likelihoods(maths: Maths[N], of: Window[N], supposed: tuple[N, N], null: tuple[N, N]) -> N:
    """Logarithm of the ratio of the likelihoods of two pairs of rates, the challenger's and the champion's."""
    log_, (p1, p0), (q1, q0) = maths.log, supposed, null
    bad = of.x1 * log_(p1 / q1) + of.x0 * log_(p0 / q0)
    return bad + (of.n1 - of.x1) * log_((1.0 - p1) / (1.0 - q1)) + (of.n0 - of.x0) * log_((1.0 - p0) / (1.0 - q0))


def _odds_apart(maths: Maths[N], odds: N, share: N, rate: N) -> tuple[N, N]:
    """The challenger's and the champion's rate whose odds are so many times apart and which make this rate together."""
    more = odds - 1.0
    square, linear = (1.0 - share) * more, share * odds + (1.0 - share) - rate * more
    champion = 2.0 * rate / (linear + maths.sqrt(linear * linear + 4.0 * square * rate))
    champion = maths.minimum(maths.maximum(champion, 1e-12), 1.0 - 1e-12)
    return odds * champion / (1.0 + more * champion), champion


def on_excess(maths: Maths[N], times: Sequence[float], excess: float, of: Window[N]) -> list[N]:
    """Against p1 = p0 + excess, by noise on the champion.

    The idea: let every champion request fail once more with probability `excess`, and test the ratio one. Rather than drawing such
    noise and averaging over a few copies, this is its average over all copies at once: a healthy champion request
    multiplies by the mean of (fails, does not fail), so there is no luck in it. Charging a failed request for its second
    failure (1 - u (1 + excess)) makes the null exactly p0 + excess for every p0; plain noise only reaches p0 + (1 - p0) excess.
    """
    log1p, minimum, more, share = maths.log1p, maths.minimum, 1.0 + excess, of.share
    x1, x0, ok0, odds, most = of.x1, of.x0, of.n0 - of.x0, (1.0 - share) / share, 0.999 / more
    gained = [share * (each - 1.0) for each in times]
    # u: what a failure on the champion takes from the wealth. Below its limit a failure never takes all.
    taken = [minimum(each / (1.0 + each), most) for each in gained]
    # w (a - 1) = (1 - w) u: the bet is fair at p1 = p0 + excess
    return [x1 * log1p(odds * u) + x0 * log1p(-more * u) + ok0 * log1p(-excess * u) for u in taken]
