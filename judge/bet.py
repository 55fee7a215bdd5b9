"""Bets on the arm, given the outcome: what each request of a window multiplies the wealth by.

Called by the kernels and by `forecast`. A bet is fair or worse for everyone in its null: with the realised share w of the window, A the
mean factor of a challenger request and B that of a champion request, w A + (1-w) B <= 1, hence A^n1 B^n0 <= 1 for any
rates of bad requests that hold during the window, and these may change from window to window. Arrays broadcast: shares (R, 1) and
alternatives (J,) give factors (R, J).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SURELY = 0.99  # no alternative supposes that more of the challenger's requests are bad


class Counts(NamedTuple):
    """A window: requests n and bad requests x of the challenger (1) and of the champion (0); all of one shape."""

    n1: Floats
    x1: Floats
    n0: Floats
    x0: Floats


class Bet(NamedTuple):
    """Logarithms of the factors, one per alternative: for a bad challenger request, a bad and a healthy champion request, and a
    healthy challenger request (None: that multiplies by one)."""

    challenger_bad: Floats
    champion_bad: Floats
    champion_ok: Floats | None = None
    challenger_ok: Floats | None = None

    def log_factors(self, window: Counts) -> Floats:
        """What a window multiplies each alternative's wealth by."""
        factors = window.x1 * self.challenger_bad + window.x0 * self.champion_bad
        if self.champion_ok is not None:
            factors += (window.n0 - window.x0) * self.champion_ok
        if self.challenger_ok is not None:
            factors += (window.n1 - window.x1) * self.challenger_ok
        return factors

    def growth(self, champion_rate: float, challenger_rate: float, share: float) -> Floats:
        """Expected logarithm of the factors per challenger request at these rates of bad requests and this share."""
        rest = (1.0 - share) / share
        one = (np.asarray(value) for value in (1.0, challenger_rate, rest, rest * champion_rate))
        return self.log_factors(Counts(*one))


def on_ratio(times: Floats, ratio: Floats | float, share: Floats | float) -> Bet:
    """Against p1 = ratio * p0, for rates that are `times` as far apart: judge.md formula (2). Only bad requests count.

    Alternatives above one refute "p1 <= ratio * p0", those below one "p1 >= ratio * p0".
    """
    likelier = np.log((share * (ratio * times) + (1.0 - share)) / (share * ratio + (1.0 - share)))
    return Bet(np.log(times) - likelier, -likelier)


def on_known_ratio(times: Floats, ratio: Floats | float, share: Floats, rate: Floats) -> Bet:
    """As `on_ratio`, where the rate of bad requests on both arms together is known from the past: healthy requests count as well.

    The likelihood ratio of the alternative with that pooled rate against the nearest pair of rates in the null, its reverse
    information projection, which makes it an e-variable whether the rate was known well or not (Turner and Gruenwald 2023, theorem 1: the
    null is convex). For rare bad requests it tends to `on_ratio`; at 30 % it needs a third fewer requests.
    """
    bad1 = np.minimum(rate * ratio * times / (share * (ratio * times) + (1.0 - share)), _SURELY)
    bad0 = np.minimum((rate - share * bad1) / (1.0 - share), _SURELY)
    bad0 = np.maximum(bad0, 1e-12)
    ok1, ok0 = 1.0 - bad1, 1.0 - bad0
    pooled = share * bad1 + (1.0 - share) * bad0
    # ratio q^2 - linear q + pooled = 0: where the likelihood along p1 = ratio * p0 = ratio * q is largest
    linear = pooled * (1.0 + ratio) + share * ratio * ok1 + (1.0 - share) * ok0
    root = 2.0 * pooled / (linear + np.sqrt(np.maximum(linear**2 - 4.0 * ratio * pooled, 0.0)))
    root = np.minimum(root, (1.0 - 1e-12) / np.maximum(ratio, 1.0))
    told = (bad1 > ratio * bad0) == (times > 1.0)  # where rates end, an alternative may lie in the null: then nothing is bet
    return Bet(
        told * np.log(bad1 / (ratio * root)),
        told * np.log(bad0 / root),
        told * np.log(ok0 / (1.0 - root)),
        told * np.log(ok1 / (1.0 - ratio * root)),
    )


def on_known_odds(times: Floats, odds: Floats | float, share: Floats, rate: Floats) -> Bet:
    """Against "the odds are at most `odds` times the champion's" where times > 1, "at least" where times < 1.

    As `on_known_ratio`: both nulls are convex, and the nearest pair in them has the same pooled rate as the alternative, for it solves a
    logistic regression with a fixed slope.
    """
    (bad0, bad1), (null0, null1) = (_odds_apart(apart, share, rate) for apart in (odds * times, odds * np.ones_like(times)))
    return Bet(
        np.log(bad1 / null1),
        np.log(bad0 / null0),
        np.log((1.0 - bad0) / (1.0 - null0)),
        np.log((1.0 - bad1) / (1.0 - null1)),
    )


def _odds_apart(odds: Floats, share: Floats, rate: Floats) -> tuple[Floats, Floats]:
    """The champion's and the challenger's rate whose odds are so many times apart and which make this rate together."""
    more = odds - 1.0
    square, linear = (1.0 - share) * more, share * odds + (1.0 - share) - rate * more
    champion = 2.0 * rate / (linear + np.sqrt(linear**2 + 4.0 * square * rate))
    champion = np.clip(champion, 1e-12, 1.0 - 1e-12)
    return champion, odds * champion / (1.0 + more * champion)


def on_excess(times: Floats, excess: Floats | float, share: Floats | float) -> Bet:
    """Against p1 = p0 + excess, by noise on the champion.

    The idea: let every champion request fail once more with probability `excess`, and test the ratio one. Rather than drawing such
    noise and averaging over a few copies, this is its average over all copies at once: a healthy champion request
    multiplies by the mean of (fails, does not fail), so there is no luck in it. Charging a failed request for its second
    failure (1 - u (1 + excess)) makes the null exactly p0 + excess for every p0; plain noise only reaches p0 + (1 - p0) excess.
    """
    likelier = share * times + (1.0 - share)
    # u: what a failure on the champion takes from the wealth. Below its limit a failure never takes all.
    taken = np.minimum(1.0 - 1.0 / likelier, 0.999 / (1.0 + excess))
    won = np.log1p((1.0 - share) * taken / share)  # w (a - 1) = (1 - w) u: the bet is fair at p1 = p0 + excess
    return Bet(won, np.log1p(-taken * (1.0 + excess)), np.log1p(-taken * excess))
