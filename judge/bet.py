"""Bets on the arm, given the outcome: what each request of a window multiplies the wealth by.

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


@dataclass(slots=True)
class Bet(Generic[N]):
    """Logarithms of the factors, one per alternative: for a bad challenger request, a bad and a healthy champion request, and a
    healthy challenger request (the last two: multiply by one if left out)."""

    challenger_bad: Sequence[N]
    champion_bad: Sequence[N]
    champion_ok: Sequence[N] = ()
    challenger_ok: Sequence[N] = ()

    def log_factors(self, of: Window[N]) -> list[N]:
        """What a window multiplies each alternative's wealth by."""
        x1, x0 = of.x1, of.x0
        found = [x1 * won + x0 * lost for won, lost in zip(self.challenger_bad, self.champion_bad, strict=True)]
        if self.champion_ok:
            ok0 = of.n0 - x0
            found = [factor + ok0 * each for factor, each in zip(found, self.champion_ok, strict=True)]
        if self.challenger_ok:
            ok1 = of.n1 - x1
            found = [factor + ok1 * each for factor, each in zip(found, self.challenger_ok, strict=True)]
        return found


def expected(champion_rate: float, challenger_rate: float, share: float) -> Window[float]:
    """What comes with one challenger request on average, at these rates of bad requests and this share."""
    rest = (1.0 - share) / share
    return Window(1.0, challenger_rate, rest, rest * champion_rate, share)


def on_ratio(maths: Maths[N], times: Sequence[float], ratio: float, share: N) -> Bet[N]:
    """Against p1 = ratio * p0, for rates that are `times` as far apart: judge.md formula (2). Only bad requests count.

    Alternatives above one refute "p1 <= ratio * p0", those below one "p1 >= ratio * p0".
    """
    rest = 1.0 - share
    null = share * ratio + rest
    likelier = [maths.log((share * (ratio * each) + rest) / null) for each in times]
    won = [log(each) - by for each, by in zip(times, likelier, strict=True)]
    return Bet(won, [-by for by in likelier])


def on_known_ratio(maths: Maths[N], times: Sequence[float], ratio: float, share: N, rate: N) -> Bet[N]:
    """As `on_ratio`, where the rate of bad requests on both arms together is known from the past: healthy requests count as well.

    The likelihood ratio of the alternative with that pooled rate against the nearest pair of rates in the null, its reverse
    information projection, which makes it an e-variable whether the rate was known well or not (Turner and Gruenwald 2023, theorem 1: the
    null is convex). For rare bad requests it tends to `on_ratio`; at 30 % it needs a third fewer requests.
    """
    log_, rest = maths.log, 1.0 - share
    weighted, most = share * ratio, (1.0 - 1e-12) / max(ratio, 1.0)
    found: tuple[list[N], ...] = ([], [], [], [])
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
        null1 = ratio * root
        factors = (bad1 / null1, bad0 / root, ok0 / (1.0 - root), ok1 / (1.0 - null1))
        for parts, factor in zip(found, factors, strict=True):
            parts.append(told * log_(factor))
    return Bet(*found)


def on_known_odds(maths: Maths[N], times: Sequence[N], odds: Sequence[float], share: N, rate: N) -> Bet[N]:
    """Against "the odds are at most `odds` times the champion's" where times > 1, "at least" where times < 1.

    As `on_known_ratio`: both nulls are convex, and the nearest pair in them has the same pooled rate as the alternative, for it solves a
    logistic regression with a fixed slope.
    """
    log_ = maths.log
    found: tuple[list[N], ...] = ([], [], [], [])
    for each, tolerated in zip(times, odds, strict=True):
        bad0, bad1 = _odds_apart(maths, tolerated * each, share, rate)
        null0, null1 = _odds_apart(maths, tolerated + 0.0 * each, share, rate)
        factors = (bad1 / null1, bad0 / null0, (1.0 - bad0) / (1.0 - null0), (1.0 - bad1) / (1.0 - null1))
        for parts, factor in zip(found, factors, strict=True):
            parts.append(log_(factor))
    return Bet(*found)


def _odds_apart(maths: Maths[N], odds: N, share: N, rate: N) -> tuple[N, N]:
    """The champion's and the challenger's rate whose odds are so many times apart and which make this rate together."""
    more = odds - 1.0
    square, linear = (1.0 - share) * more, share * odds + (1.0 - share) - rate * more
    champion = 2.0 * rate / (linear + maths.sqrt(linear * linear + 4.0 * square * rate))
    champion = maths.minimum(maths.maximum(champion, 1e-12), 1.0 - 1e-12)
    return champion, odds * champion / (1.0 + more * champion)


def on_excess(maths: Maths[N], times: Sequence[float], excess: float, share: N) -> Bet[N]:
    """Against p1 = p0 + excess, by noise on the champion.

    The idea: let every champion request fail once more with probability `excess`, and test the ratio one. Rather than drawing such
    noise and averaging over a few copies, this is its average over all copies at once: a healthy champion request
    multiplies by the mean of (fails, does not fail), so there is no luck in it. Charging a failed request for its second
    failure (1 - u (1 + excess)) makes the null exactly p0 + excess for every p0; plain noise only reaches p0 + (1 - p0) excess.
    """
    log1p, more = maths.log1p, 1.0 + excess
    odds = (1.0 - share) / share
    # u: what a failure on the champion takes from the wealth. Below its limit a failure never takes all.
    gained = [share * (each - 1.0) for each in times]
    taken = [maths.minimum(each / (1.0 + each), 0.999 / more) for each in gained]
    won = [log1p(odds * u) for u in taken]  # w (a - 1) = (1 - w) u: the bet is fair at p1 = p0 + excess
    return Bet(won, [log1p(-u * more) for u in taken], [log1p(-u * excess) for u in taken])
