"""Confidence sequences for people to read: of the ratio of error rates, and of one version's rate. Nothing is decided on them.

They hold at all looks together. The ratio's is judge.md formula (4): what a mixture over ratios cannot refute, and it stays valid
when the baseline moves, because every window compares its own two arms. Called by `fold` (add) and by the deciding modules (read).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from .samples import Window
from .verdict import Effect

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
# The log-likelihood of t = log(ratio) is a sum of t and of softplus functions of t, whose nearest poles are pi away from the real
# line. So its values at 48 Chebyshev nodes give it everywhere in between to about 1e-9 of its size, however many windows there were.
NODES = 48
REACH = 7.0  # ratios from 1/1100 to 1100; an interval that touches the end is reported as open
_SLACK = 1e-9
_ORDERS = np.arange(NODES, dtype=float)
_NEARBY = np.linspace(-1.0, 1.0, 9)
_SPREADS = np.linspace(-8.0, 8.0, 65)  # standard errors around the likeliest ratio


@dataclass(frozen=True, slots=True)
class Likelihood:
    """log_values: the log-likelihood at the nodes. The errors say on which side a ratio can be told at all."""

    log_values: tuple[float, ...] = (0.0,) * NODES
    champion_errors: int = 0
    challenger_errors: int = 0


@dataclass(frozen=True, slots=True)
class _Grid:
    nodes: Floats
    to_coefficients: Floats  # values at the nodes -> Chebyshev coefficients
    points: Floats  # where the whole range is looked at
    at_points: Floats  # coefficients -> values there


def _basis(points: Floats) -> Floats:
    angles = np.arccos(np.minimum(np.maximum(points / REACH, -1.0), 1.0))
    values: Floats = np.cos(angles[:, None] * _ORDERS)
    return values


@cache
def _grid() -> _Grid:
    nodes = REACH * np.cos((np.arange(NODES) + 0.5) * np.pi / NODES)
    to_coefficients = _basis(nodes).T * (2.0 / NODES)
    to_coefficients[0] /= 2.0
    points = np.linspace(-REACH, REACH, 113)
    return _Grid(nodes, to_coefficients, points, _basis(points))


def _log_prior(points: Floats) -> Floats:
    """Mostly a ratio near one (standard deviation 1 of its logarithm), sometimes a far one, so that a dead version is believed soon."""
    squares = -0.5 * points**2
    density: Floats = np.log((0.8 * np.exp(squares) + 0.2 / 3.0 * np.exp(squares / 9.0)) / (2.0 * np.pi) ** 0.5)
    return density


def after(likelihood: Likelihood, window: Window) -> Likelihood:
    """One window with traffic on both arms later."""
    x1, x0 = window.challenger.errors, window.champion.errors
    if x1 + x0 == 0:
        return likelihood
    share = window.challenger.requests / (window.challenger.requests + window.champion.requests)
    nodes = _grid().nodes
    gained = x1 * nodes - (x1 + x0) * np.log(share * np.exp(nodes) + (1.0 - share))
    values = np.asarray(likelihood.log_values) + gained
    return Likelihood(tuple(values.tolist()), likelihood.champion_errors + x0, likelihood.challenger_errors + x1)


def _values(coefficients: Floats, points: Floats) -> Floats:
    values: Floats = _basis(points) @ coefficients
    return values


def _coefficients(likelihood: Likelihood) -> Floats:
    coefficients: Floats = _grid().to_coefficients @ np.asarray(likelihood.log_values)
    return coefficients


def effect(likelihood: Likelihood) -> Effect:
    """The likeliest ratio and its interval. A side on which nothing is known is None; no failures at all: nothing is."""
    if likelihood.champion_errors + likelihood.challenger_errors == 0:
        return Effect(None, None, None)
    grid = _grid()
    coefficients = _coefficients(likelihood)
    coarse = grid.at_points @ coefficients
    best, spread = _peak(coefficients, grid.points, coarse)
    fine = best + spread * _SPREADS
    fine = fine[np.abs(fine) < REACH]
    points = np.concatenate((grid.points, fine))
    order = np.argsort(points)
    points, values = points[order], np.concatenate((coarse, _values(coefficients, fine)))[order]
    top = float(values.max())
    mixture = top + log(float(np.trapezoid(np.exp(values - top + _log_prior(points)), points)))
    limit = mixture + log(1.0 - CONFIDENCE) - _SLACK * abs(top)
    inside = np.flatnonzero(values >= limit)
    first, last = (int(inside[0]), int(inside[-1])) if inside.size else (int(values.argmax()),) * 2
    low, high = 0.0, None
    if first > 0 and likelihood.challenger_errors:
        low = exp(_crossing(coefficients, points[first], points[first - 1], limit))
    if last < len(points) - 1 and likelihood.champion_errors:
        high = exp(_crossing(coefficients, points[last], points[last + 1], limit))
    ratio = exp(best) if likelihood.challenger_errors else 0.0
    return Effect(ratio if likelihood.champion_errors else None, low, high)


def _peak(coefficients: Floats, points: Floats, values: Floats) -> tuple[float, float]:
    """Where the likelihood is largest, and how far from there it has fallen by one half (its standard error)."""
    for _ in range(2):
        middle = min(max(int(values.argmax()), 1), len(points) - 2)
        left, centre, right = values[middle - 1 : middle + 2]
        step = float(points[middle + 1] - points[middle])
        bend = float(2.0 * centre - left - right)
        if bend <= 0.0:
            break
        best = float(points[middle]) + step * min(max(0.5 * float(right - left) / bend, -1.0), 1.0)
        best = min(max(best, -REACH), REACH)
        spread = min(max(step / bend**0.5, 1e-6), REACH / 8.0)
        points = np.minimum(np.maximum(best + step / 4.0 * _NEARBY, -REACH), REACH)
        values = _values(coefficients, points)
    else:
        return best, spread
    return float(points[values.argmax()]), REACH / 8.0


def _crossing(coefficients: Floats, inside: float, outside: float, limit: float) -> float:
    """Where the likelihood falls through the limit between two neighbouring points."""
    points = inside + (outside - inside) / 2.0 * (1.0 + _NEARBY)
    values = _values(coefficients, points)
    last = max(int(np.argmin(values >= limit)), 1)  # the first point outside
    fall = float(values[last - 1] - values[last])
    part = min(max(float(values[last - 1] - limit) / fall, 0.0), 1.0) if fall > 0.0 else 1.0
    return float(points[last - 1]) + part * float(points[last] - points[last - 1])


def rate(errors: int, requests: int, error_probability: float) -> tuple[float, float]:
    """Where one version's own error rate lies, at all looks together: the rates that a Beta(1/2, 1/2) mixture cannot refute."""
    if requests == 0:
        return 0.0, 1.0
    fails, serves = float(errors), float(requests - errors)
    mixture = float(betaln(fails + 0.5, serves + 0.5) - betaln(0.5, 0.5))

    def refuted(p: float) -> bool:
        likelihood = (fails * log(p) if fails else 0.0) + (serves * log(1.0 - p) if serves else 0.0)
        return mixture - likelihood >= -log(error_probability)

    estimate = min(max(fails / requests, 1e-15), 1.0 - 1e-15)
    low = 0.0 if not errors else _bisect(refuted, 1e-15, estimate)
    high = 1.0 if errors == requests else _bisect(refuted, 1.0 - 1e-15, estimate)
    return low, high


def _bisect(refuted: Callable[[float], bool], outside: float, inside: float) -> float:
    """The last refuted rate on the way in, so the interval errs on the wide side."""
    if not refuted(outside):
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2.0
        outside, inside = (middle, inside) if refuted(middle) else (outside, middle)
    return outside


def apart(champion: tuple[int, int], challenger: tuple[int, int], *, of: str) -> Effect:
    """Ratio of two rates from one interval for each version, given (requests, bad ones): wider than side by side, valid for any two."""
    (n0, x0), (n1, x1) = champion, challenger
    if not n0 or not n1 or not x0 + x1:
        return Effect(None, None, None, of)
    doubt = (1.0 - CONFIDENCE) / 2.0
    (low0, high0), (low1, high1) = rate(x0, n0, doubt), rate(x1, n1, doubt)
    return Effect((x1 / n1) / (x0 / n0) if x0 else None, low1 / high0, high1 / low0 if low0 > 0.0 else None, of)
