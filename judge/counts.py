"""The kernel of the guards that count bad requests: is the rate of bad ones higher on the challenger, and is it low enough?

`error_rate` and `quality` bring the alternatives. Four processes share the arithmetic:

    worse, by ratio       refutes p1 <= tolerance_ratio * p0          within, by ratio       refutes p1 >= margin_ratio * p0
    worse, by points      refutes p1 <= p0 + tolerance                within, by points      refutes p1 >= p0 + margin

A version is tolerated if either tolerance holds, so both have to be refuted (the smaller evidence counts, no correction is due).
It is too bad if it is beyond both margins, so the wealth of both processes together is evidence against that; it starts in halves and
moves to the wider margin as the past tells which that is (`lean`).

Each bets on the arm, given the outcome (`bet`), with the realised share of the window; judge.md sections 2, 3 and 8. Rollback evidence keeps
cash for regressions that start late (`wealth`), and the process by ratio loses no overshoot at its threshold (`boost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import ClassVar, Protocol

from . import bet, boost, wealth
from .maths import FLOATS, N, Truth
from .records import Record, Row

LOG2 = log(2.0)


class Limits(Protocol):
    """The tolerance and the margin of a guard that counts."""

    @property
    def tolerance_ratio(self) -> float: ...
    @property
    def tolerance_pct(self) -> float: ...
    @property
    def margin_ratio(self) -> float: ...
    @property
    def margin_pct(self) -> float: ...


@dataclass(frozen=True)
class Bets:
    """What is bet on. worse: how many times beyond the tolerance the true ratio may be. within: true ratios, of which the last is
    taken relative to the margin's middle (see `_supposed`). fewer: how many times rarer bad requests are than with the margin added.
    known_from: past rate of bad requests from which healthy requests are bet on as well."""

    worse: tuple[float, ...]
    worse_weights: tuple[float, ...]
    within_weights: tuple[float, ...] = (0.75, 0.12, 0.08, 0.05)
    fewer: tuple[float, ...] = (0.9, 0.7, 0.45, 0.25, 0.1)
    known_from: float = 0.1

    @cached_property
    def log_weights(self) -> tuple[float, ...]:
        return tuple(log(weight) for weight in self.worse_weights)

    @cached_property
    def fresh(self) -> Row:
        """A record of a rollout about which nothing is known: head, atoms (worse by ratio, worse by points, within by ratio, within by
        points, cash), and the four fields after them."""
        worse = [log((1.0 - wealth.CASH) * weight) for weight in self.worse_weights]
        within = [log(weight) for weight in self.within_weights]
        fewer = [-log(len(self.fewer))] * len(self.fewer)
        return (*[0.0] * 4, *worse, *worse, *within, *fewer, log(wealth.CASH), *[0.0] * Known.TAIL)


@dataclass(slots=True)
class Known(Record[N]):
    """requests / bad: of both arms so far. log_boost: what removing the overshoot has added to worse by ratio."""

    requests: N
    bad: N
    log_boost: N

    TAIL: ClassVar[int] = 4

    def numbers(self) -> tuple[N, ...]:
        return Record.numbers(self) + (self.requests, self.bad, self.log_boost)  # noqa: RUF005 - mypy loses the type

    def processes(self, bets: Bets) -> tuple[list[N], list[N], list[N], list[N]]:
        """The wealth on each alternative: worse by ratio and by points, within by ratio and by points."""
        worse, within, atoms = len(bets.worse), 2 * len(bets.worse) + len(bets.within_weights), self.log_atoms
        return atoms[:worse], atoms[worse : 2 * worse], atoms[2 * worse : within], atoms[within:-1]


KNOWN_REQUESTS = 200.0  # the past rate of bad requests is a guess before
LEAN_AT_MOST = 0.98  # of the promotion wealth on the margin that is thought to be the wider


def _supposed(margin_ratio: float) -> tuple[float, ...]:
    """True ratios within the margin, relative to it; most likely the versions are equal."""
    return 1.0 / margin_ratio, (1.0 + margin_ratio) / 2.0 / margin_ratio, 0.7 / margin_ratio, 0.4 / margin_ratio


def update(known: Known[N], bets: Bets, limits: Limits, n1: N, x1: N, n0: N, x0: N, *, log_cap: float) -> None:
    """One window, in place: n requests, x of them bad, of the challenger (1) and the champion (0).

    log_cap: natural logarithm of what the decision has to reach. Where an arm is empty nothing changes.
    """
    maths = known.maths
    both = (n1 > 0.0) & (n0 > 0.0)
    if not maths.some(both):
        return
    if not maths.every(both):
        n1, x1, n0, x0 = (maths.where(both, each, 0.0) for each in (n1, x1, n0, x0))
    window = bet.Window(n1, x1, n0, x0, maths.where(both, n1 / maths.maximum(n1 + n0, 1.0), 0.5))
    known.log_atoms = _bet(known, bets, limits, window, log_cap)
    older = maths.doublings(known.requests / KNOWN_REQUESTS)
    known.requests = known.requests + (window.n1 + window.n0)
    known.bad = known.bad + (window.x1 + window.x0)
    learned = (known.requests >= KNOWN_REQUESTS) & (maths.doublings(known.requests / KNOWN_REQUESTS) > older)
    if maths.some(learned):
        lean(known, bets, limits, learned)
    _settle(known, bets, limits)


def _bet(known: Known[N], bets: Bets, limits: Limits, window: bet.Window[N], log_cap: float) -> list[N]:
    """The wealth after a window."""
    maths, middle = known.maths, len(bets.worse)
    worse, points, within, fewer = known.processes(bets)
    released, cash, known.age = wealth.release(maths, known.log_atoms[-1], known.age, window.n1)
    worse, points = (wealth.spread(maths, atoms, released, bets.log_weights) for atoms in (worse, points))
    frequent = (known.requests >= KNOWN_REQUESTS) & (known.bad > bets.known_from * known.requests)
    by_ratio: list[N] = []
    if not maths.every(frequent):
        boosted = boost.log_boost(maths, worse, cash, bets.worse, limits.tolerance_ratio, window, log_cap - known.log_boost)
        known.log_boost = known.log_boost + maths.where(frequent, 0.0, boosted)
        by_ratio = bet.on_ratio(maths, bets.worse, limits.tolerance_ratio, window)
        by_ratio += bet.on_ratio(maths, _supposed(limits.margin_ratio), limits.margin_ratio, window)
    if maths.some(frequent):
        told = _on_known_ratio(known, bets, limits, window)
        by_ratio = [maths.where(frequent, *both) for both in zip(told, by_ratio or told, strict=True)]
    by_points = bet.on_excess(maths, bets.worse, limits.tolerance_pct / 100.0, window)
    by_points += bet.on_excess(maths, bets.fewer, limits.margin_pct / 100.0, window)
    factors = by_ratio[:middle] + by_points[:middle] + by_ratio[middle:] + by_points[middle:]
    found = wealth.won(worse + points + within + fewer, factors)
    found.append(cash)
    return found


def _on_known_ratio(known: Known[N], bets: Bets, limits: Limits, window: bet.Window[N]) -> list[N]:
    """The factors by ratio, worse and within, where bad requests are so frequent that the healthy ones tell something too."""
    rate = (known.bad + 0.5) / (known.requests + 1.0)
    found: list[N] = []
    for times, ratio in ((bets.worse, limits.tolerance_ratio), (_supposed(limits.margin_ratio), limits.margin_ratio)):
        found += bet.on_known_ratio(known.maths, times, ratio, window, rate)
    return found


def lean(known: Known[N], bets: Bets, limits: Limits, learned: Truth) -> None:
    """Move promotion wealth to the margin that is likelier the wider, at every doubling of what is known: past the wider one the
    version is too bad, so that is the one to refute. A bet may be moved any time before the counts it is on; under "beyond both margins"
    both processes are fair. The likelihood is that of a Gamma posterior (Jeffreys) of the rate of bad requests."""
    maths = known.maths
    _, _, within, fewer = known.processes(bets)
    by_ratio, by_points = maths.log_sum(within), maths.log_sum(fewer)
    widths_meet = limits.margin_pct / 100.0 / (limits.margin_ratio - 1.0)
    wider = maths.survival(known.bad + 0.5, widths_meet * known.requests)
    wish = maths.minimum(maths.maximum(wider, 1.0 - LEAN_AT_MOST), LEAN_AT_MOST)
    gap, wished = by_points - by_ratio, maths.log((1.0 - wish) / wish)
    # what is won already stays where it is
    gap = maths.where(wish > 0.5, maths.minimum(gap, wished), maths.maximum(gap, wished))
    total, nothing = maths.log_add(by_ratio, by_points), 0.0 * gap
    ratio_gain = maths.where(learned, total - maths.log_add(nothing, gap) - by_ratio, 0.0)
    points_gain = maths.where(learned, total - maths.log_add(nothing, -gap) - by_points, 0.0)
    within, fewer = [atom + ratio_gain for atom in within], [atom + points_gain for atom in fewer]
    known.log_atoms[2 * len(bets.worse) : -1] = within + fewer


def _settle(known: Known[N], bets: Bets, limits: Limits) -> None:
    """What the wealth says."""
    maths, cash = known.maths, known.log_atoms[-1]
    worse, points, within, fewer = known.processes(bets)
    worse.append(cash)
    points.append(cash)
    relative = maths.log_sum(worse)
    boosted = relative + known.log_boost
    if limits.tolerance_pct > 0.0:
        absolute = maths.log_sum(points)
        relative, boosted = maths.minimum(relative, absolute), maths.minimum(boosted, absolute)
    known.rollback, known.decision = relative, boosted
    known.peak = maths.maximum(known.peak, boosted)
    known.promotion = maths.log_sum(within + fewer) - LOG2


def growth(
    bets: Bets, limits: Limits, champion_rate: float, challenger_rate: float, share: float, pooled: float
) -> tuple[list[float], ...]:
    """Expected logarithm of the factors per challenger request, of each of the `processes`; for forecasts."""
    one = bet.expected(champion_rate, challenger_rate, share)
    by_ratio, by_points = [], []
    for times, ratio in ((bets.worse, limits.tolerance_ratio), (_supposed(limits.margin_ratio), limits.margin_ratio)):
        if pooled > bets.known_from:
            by_ratio.append(bet.on_known_ratio(FLOATS, times, ratio, one, pooled))
        else:
            by_ratio.append(bet.on_ratio(FLOATS, times, ratio, one))
    for times, points in ((bets.worse, limits.tolerance_pct), (bets.fewer, limits.margin_pct)):
        by_points.append(bet.on_excess(FLOATS, times, points / 100.0, one))
    return by_ratio[0], by_points[0], by_ratio[1], by_points[1]
