"""The kernel of the guards that count bad requests: is the rate of bad ones higher on the challenger, and is it low enough?

One row per rollout; `error_rate` and `quality` bring the alternatives. Four processes share a row's wealth arithmetic:

    worse, by ratio       refutes p1 <= tolerance_ratio * p0          within, by ratio       refutes p1 >= margin_ratio * p0
    worse, by points      refutes p1 <= p0 + tolerance                within, by points      refutes p1 >= p0 + margin

A version is tolerated if either tolerance holds, so both have to be refuted (the smaller evidence counts, no correction is due).
It is too bad if it is beyond both margins, so the wealth of both processes together is evidence against that; it starts in halves and
moves to the wider margin as the past tells which that is (`lean`).

Each bets on the arm, given the outcome (`bet`), with the realised share of the window; judge.md sections 2, 3 and 8. Rollback evidence keeps
cash for regressions that start late (`wealth.kept`), and the process by ratio loses no overshoot at its threshold (`boost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from . import bet, boost, wealth
from .records import HEAD, Records

Floats = NDArray[np.float64]
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
    taken relative to the margin's middle (see `ratios`). fewer: how many times rarer bad requests are than with the margin added.
    known_from: past rate of bad requests from which healthy requests are bet on as well."""

    worse: tuple[float, ...]
    worse_weights: tuple[float, ...]
    within_weights: tuple[float, ...] = (0.75, 0.12, 0.08, 0.05)
    fewer: tuple[float, ...] = (0.9, 0.7, 0.45, 0.25, 0.1)
    known_from: float = 0.1

    def record(self) -> np.dtype[np.void]:
        """log_atoms: the wealth on each alternative of worse by ratio, worse by points, within by ratio and within by points, and the
        cash last. age: requests that the cash has seen. requests / bad: of both arms so far. log_boost: what removing the
        overshoot has added to worse by ratio."""
        atoms = 2 * len(self.worse) + len(self.within_weights) + len(self.fewer) + 1
        return np.dtype(
            [*HEAD, ("log_atoms", "f8", (atoms,)), ("age", "f8"), ("requests", "f8"), ("bad", "f8"), ("log_boost", "f8")]
        )


KNOWN_REQUESTS = 200.0  # the past rate of bad requests is a guess before
LEAN_AT_MOST = 0.98  # of the promotion wealth on the margin that is thought to be the wider


@dataclass(frozen=True)
class _Plan:
    """What follows from the bets and the limits alone. base / times: the ratio that each process by ratio refutes, and how many times it
    the alternatives are; worse first, then within. excess / fewer: the same by points, the excess as a part of one."""

    base: Floats
    times: Floats
    excess: Floats
    fewer: Floats
    log_worse_weights: Floats


@lru_cache(maxsize=256)
def _plan(bets: Bets, tolerance_ratio: float, tolerance_pct: float, margin_ratio: float, margin_pct: float) -> _Plan:
    worse, within, fewer = len(bets.worse), len(bets.within_weights), len(bets.fewer)
    supposed = np.array([1.0, (1.0 + margin_ratio) / 2.0, 0.7, 0.4])  # true ratios; most likely the versions are equal
    return _Plan(
        base=np.repeat([tolerance_ratio, margin_ratio], [worse, within]),
        times=np.concatenate([bets.worse, supposed / margin_ratio]),
        excess=np.repeat([tolerance_pct / 100.0, margin_pct / 100.0], [worse, fewer]),
        fewer=np.concatenate([bets.worse, bets.fewer]),
        log_worse_weights=np.log(np.tile(bets.worse_weights, 2)),
    )


def fresh(bets: Bets, size: int = 1) -> Records:
    """Records of `size` rollouts about which nothing is known."""
    records: Records = np.zeros(size, bets.record())
    uniform = np.full(len(bets.fewer), 1.0 / len(bets.fewer))
    worse = (1.0 - wealth.CASH) * np.array(bets.worse_weights)
    records["log_atoms"] = np.log(np.concatenate([worse, worse, bets.within_weights, uniform, [wealth.CASH]]))
    return records


def update(
    records: Records, bets: Bets, limits: Limits, n1: Floats, x1: Floats, n0: Floats, x0: Floats, *, log_cap: float
) -> None:
    """One window for each row, in place: n requests, x of them bad, of the challenger (1) and the champion (0), each of shape (R,).

    log_cap: natural logarithm of what the decision has to reach. Rows with an empty arm stay as they are.
    """
    both = (n1 > 0.0) & (n0 > 0.0)
    if not both.all():
        some = records[both]
        if some.size:
            update(some, bets, limits, n1[both], x1[both], n0[both], x0[both], log_cap=log_cap)
            records[both] = some
        return
    plan = _plan(bets, limits.tolerance_ratio, limits.tolerance_pct, limits.margin_ratio, limits.margin_pct)
    worse, ratios = len(bets.worse), len(plan.base)
    atoms = records["log_atoms"]
    wealth.invest(atoms[:, : 2 * worse], atoms[:, -1], records["age"], n1, plan.log_worse_weights)
    share = (n1 / (n1 + n0))[:, None]
    window = bet.Counts(n1[:, None], x1[:, None], n0[:, None], x0[:, None])
    by_ratio = bet.on_ratio(plan.times, plan.base, share)
    factors = by_ratio.log_factors(window)
    known = _known(records, bets)
    rare = ~known
    if rare.any():
        _boost(records, bets, limits.tolerance_ratio, window, log_cap, rare)
    if known.any():
        rate = ((records["bad"] + 0.5) / (records["requests"] + 1.0))[:, None]
        factors[known] = bet.on_known_ratio(plan.times, plan.base, share, rate).log_factors(window)[known]
    points = bet.on_excess(plan.fewer, plan.excess, share).log_factors(window)
    atoms[:, :worse] += factors[:, :worse]
    atoms[:, worse : 2 * worse] += points[:, :worse]
    atoms[:, 2 * worse : worse + ratios] += factors[:, worse:]
    atoms[:, worse + ratios : -1] += points[:, worse:]
    requests = records["requests"]
    older = np.frexp(requests / KNOWN_REQUESTS)[1]
    requests += n1 + n0
    records["bad"] += x1 + x0
    learned = (requests >= KNOWN_REQUESTS) & (np.frexp(requests / KNOWN_REQUESTS)[1] > older)
    if learned.any():
        lean(records, bets, limits, learned)
    _settle(records, bets, limits)


def _known(records: Records, bets: Bets) -> NDArray[np.bool_]:
    """Where bad requests are so frequent that the healthy ones tell something too."""
    requests = records["requests"]
    known: NDArray[np.bool_] = (requests >= KNOWN_REQUESTS) & (records["bad"] > bets.known_from * requests)
    return known


def _boost(records: Records, bets: Bets, ratio: float, window: bet.Counts, log_cap: float, rare: NDArray[np.bool_]) -> None:
    """Take the overshoot out of worse by ratio, before the window's counts are looked at other than by their sum."""
    worse, atoms = len(bets.worse), records["log_atoms"]
    lifted = boost.log_boost(
        atoms[:, :worse],
        atoms[:, -1],
        np.array(bets.worse),
        ratio,
        window,
        log_cap - records["log_boost"],
    )
    records["log_boost"] += np.where(rare, lifted, 0.0)


def lean(records: Records, bets: Bets, limits: Limits, learned: NDArray[np.bool_]) -> None:
    """Move promotion wealth to the margin that is likelier the wider, at every doubling of what is known: past the wider one the
    version is too bad, so that is the one to refute. A bet may be moved any time before the counts it is on; under "beyond both margins"
    both processes are fair. The likelihood is that of a Gamma posterior (Jeffreys) of the rate of bad requests."""
    worse, within = 2 * len(bets.worse), len(bets.within_weights)
    atoms = records["log_atoms"]
    sums = wealth.log_sums(atoms[learned, worse:-1], [0, within])
    widths_meet = limits.margin_pct / 100.0 / (limits.margin_ratio - 1.0)
    wider = gammaincc(records["bad"][learned] + 0.5, widths_meet * records["requests"][learned])
    wish = np.clip(wider, 1.0 - LEAN_AT_MOST, LEAN_AT_MOST)
    ratio, points = sums[:, 0], sums[:, 1]
    gap, wished = points - ratio, np.log((1.0 - wish) / wish)
    gap = np.where(wish > 0.5, np.minimum(gap, wished), np.maximum(gap, wished))  # what is won already stays where it is
    total = np.logaddexp(ratio, points)
    parts = np.stack([total - np.logaddexp(0.0, gap) - ratio, total - np.logaddexp(0.0, -gap) - points], axis=1)
    lengths = [within, len(bets.fewer)]
    atoms[learned, worse:-1] += np.repeat(parts, lengths, axis=1)


def _settle(records: Records, bets: Bets, limits: Limits) -> None:
    """The head of each record from its wealth."""
    atoms, worse, within = records["log_atoms"], len(bets.worse), len(bets.within_weights)
    starts = [0, worse, 2 * worse, 2 * worse + within, atoms.shape[1] - 1]
    sums = wealth.log_sums(atoms, starts)
    relative = np.logaddexp(sums[:, 0], sums[:, 4])
    boosted = relative + records["log_boost"]
    if limits.tolerance_pct > 0.0:
        absolute = np.logaddexp(sums[:, 1], sums[:, 4])
        relative, boosted = np.minimum(relative, absolute), np.minimum(boosted, absolute)
    records["rollback"] = relative
    records["decision"] = boosted
    records["peak"] = np.maximum(records["peak"], boosted)
    records["promotion"] = np.logaddexp(sums[:, 2], sums[:, 3]) - LOG2


def growth(
    bets: Bets, limits: Limits, champion_rate: float, challenger_rate: float, share: float, pooled: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Expected logarithm of the factors per challenger request, of each process in the order of the atoms; for forecasts."""
    plan = _plan(bets, limits.tolerance_ratio, limits.tolerance_pct, limits.margin_ratio, limits.margin_pct)
    worse = len(bets.worse)
    if pooled > bets.known_from:
        by_ratio = bet.on_known_ratio(plan.times, plan.base, np.array([[share]]), np.array([[pooled]]))
    else:
        by_ratio = bet.on_ratio(plan.times, plan.base, share)
    ratio = by_ratio.growth(champion_rate, challenger_rate, share).ravel()
    points = bet.on_excess(plan.fewer, plan.excess, share).growth(champion_rate, challenger_rate, share).ravel()
    return ratio[:worse], points[:worse], ratio[worse:], points[worse:]
