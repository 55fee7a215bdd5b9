"""Bets on the arm, given the outcome: what each request of a window multiplies the wealth by.

Called by the processes and by `forecast`. A bet is fair or worse for everyone in its null: with the realised share w of the window, A the
mean factor of a challenger request and B that of a champion request, w A + (1-w) B <= 1, hence A^n1 B^n0 <= 1 for any
error rates that hold during the window, and these may change from window to window. Nothing is assumed about the rates.
A healthy challenger request multiplies by one, so the evidence never depends on traffic that nobody compares with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .samples import Window

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bet:
    """Logarithms of the factors, one per alternative: for a failed challenger request, for a failed and for a healthy champion
    request."""

    challenger_error: Floats
    champion_error: Floats
    champion_ok: Floats

    def log_factors(self, window: Window) -> Floats:
        """What a window multiplies each alternative's wealth by."""
        champion, challenger = window.champion, window.challenger
        return (
            challenger.errors * self.challenger_error
            + champion.errors * self.champion_error
            + (champion.requests - champion.errors) * self.champion_ok
        )

    def growth(self, champion_rate: float, challenger_rate: float, share: float) -> Floats:
        """Expected logarithm of the factors per challenger request at these error rates and this share."""
        champion = champion_rate * self.champion_error + (1.0 - champion_rate) * self.champion_ok
        return challenger_rate * self.challenger_error + champion * (1.0 - share) / share


def on_ratio(alternatives: Floats, ratio: float, share: float) -> Bet:
    """Against p1 = ratio * p0, for rates that are `alternatives` times as far apart: judge.md formula (2).

    Alternatives above one refute "p1 <= ratio * p0", those below one "p1 >= ratio * p0".
    """
    likelier = np.log(share * ratio * alternatives + (1.0 - share)) - np.log(share * ratio + (1.0 - share))
    return Bet(np.log(alternatives) - likelier, -likelier, np.zeros_like(likelier))


def on_excess(alternatives: Floats, excess: float, share: float) -> Bet:
    """Against p1 = p0 + excess, by noise on the champion.

    The idea: let every champion request fail once more with probability `excess`, and test the ratio one. Rather than drawing such
    noise and averaging over a few copies, this is its average over all copies at once: a healthy champion request
    multiplies by the mean of (fails, does not fail), so there is no luck in it. Charging a failed request for its second
    failure (1 - u (1 + excess)) makes the null exactly p0 + excess for every p0; plain noise only reaches p0 + (1 - p0) excess.
    """
    likelier = share * alternatives + (1.0 - share)
    # u: what a failure on the champion takes from the wealth. Below its limit a failure never takes all.
    taken = np.minimum(1.0 - 1.0 / likelier, 0.999 / (1.0 + excess))
    won = np.log1p((1.0 - share) * taken / share)  # w (a - 1) = (1 - w) u: the bet is fair at p1 = p0 + excess
    return Bet(won, np.log1p(-taken * (1.0 + excess)), np.log1p(-taken * excess))
