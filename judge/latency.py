"""Does the challenger answer more slowly? Evidence from latency histograms, window by window.

Each answer of a window bets on its arm: an answer slower than most of the champion's is likelier the challenger's if that is slower. What is
bet on are the alternatives of `slowdowns`, mixed; see there for what is refuted and why. The alternatives are built from
the past alone and built anew when the past has grown enough; whether it has depends on counts of requests only.
Called by `guards`; the kernel `update` serves many rollouts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import log
from typing import ClassVar

import numpy as np

from . import copies, latency_margin, slowdowns, wealth
from .maths import COLUMNS, FLOATS, Floats, N
from .policy import LatencyGuard
from .records import Record, Row, columns
from .samples import NO_COUNTS, Counts, Window, plus, total

KNOWN_REQUESTS = 100  # champion requests before anything is bet
CHAMPION_GROWTH = 1.5  # the alternatives are built anew when the champion's past has grown so many times,
CHALLENGER_GROWTH = 1.4  # or the challenger's
FIRST_COMPARED = 30  # challenger requests from which they are learned from
KEPT_REQUESTS = 200_000  # of the champion's past; more tells nothing new
MEASURED_GROWTH = 1.2  # the quantiles to promote by are taken anew when what they are taken from has grown so many times


@dataclass(slots=True)
class Known(Record[N]):
    """log_boost: what removing the overshoot has added to the decision."""

    log_boost: N

    TAIL: ClassVar[int] = 2

    def numbers(self) -> tuple[N, ...]:
        return Record.numbers(self) + (self.log_boost,)  # noqa: RUF005 - mypy loses the type


RECORD = Known
_LOG_WEIGHTS = np.log(slowdowns.WEIGHTS)
FRESH: Row = (*[0.0] * 4, *(_LOG_WEIGHTS + log(1.0 - wealth.CASH)).tolist(), log(wealth.CASH), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """row: of a Known. margins: one row per guarded quantile (see `latency_margin`). champion / challenger: the past of both arms.
    reference / compared: the part of it that the alternatives are built from. beside: the champion's past since there is a challenger.
    measured: the part of the champion's past from which the quantiles to promote by are taken."""

    row: Row
    margins: tuple[Row, ...]
    champion: Counts = NO_COUNTS
    challenger: Counts = NO_COUNTS
    reference: Counts = NO_COUNTS
    compared: Counts = NO_COUNTS
    beside: Counts = NO_COUNTS
    measured: Counts = NO_COUNTS

    @property
    def rollback(self) -> float:
        return self.row[0]

    @property
    def decision(self) -> float:
        return self.row[1]

    @property
    def peak(self) -> float:
        return self.row[2]

    @property
    def promotion(self) -> float:
        return latency_margin.promotion(self.margins)


def fresh(size: int) -> Known[Floats]:
    """Of a batch of rollouts about which nothing is known."""
    return RECORD.of(COLUMNS, columns(FRESH, size))


def opened(guard: LatencyGuard, champion: Counts = NO_COUNTS) -> Evidence:
    """Nothing known but what the champion answered before there was a challenger."""
    return _measured(_rebuilt(Evidence(FRESH, latency_margin.fresh(guard), champion=champion)), guard, NO_COUNTS)


def update(
    known: Known[N], alternatives: slowdowns.Dictionary, challenger: Floats, champion: Floats, *, log_cap: float
) -> None:
    """One window, in place; counts by group of both arms, shape (rollouts, K). Where an arm is empty nothing changes.

    log_cap: natural logarithm of what the decision has to reach.
    """
    maths = known.maths
    n1, n0 = challenger.sum(axis=1), champion.sum(axis=1)
    share = n1 / np.maximum(n1 + n0, 1.0)
    costs = share[:, None, None] * (alternatives.tilts - 1.0)
    np.log1p(costs, out=costs)  # in place: for a thousand rollouts it is large
    costs = (costs @ (challenger + champion)[:, :, None])[:, :, 0]
    factors = challenger @ alternatives.log_tilts.T - costs
    both = np.minimum(n1, n0) > 0.0
    if not both.all():
        n1, factors = n1 * both, factors * both[:, None]
    (requests,) = maths.numbers(n1[:, None])
    released, cash, known.age = wealth.release(maths, known.log_atoms[-1], known.age, requests)
    invested = np.logaddexp(maths.rows(known.log_atoms[:-1]), maths.rows([released]) + _LOG_WEIGHTS)
    near = both & (maths.rows([known.decision])[:, 0] >= log_cap - copies.DEEP)
    if near.any():
        boosts = np.zeros((len(near), 1))
        for at in np.flatnonzero(near):
            now, boosted, kept = maths.rows([known.rollback, known.log_boost, cash])[at]
            worth = partial(_log_worth, alternatives.log_tilts, np.append(invested[at] - costs[at], kept))
            boosts[at] = copies.log_boost(worth, challenger[at], champion[at], now, log_cap - boosted)
        known.log_boost = known.log_boost + maths.numbers(boosts)[0]
    known.log_atoms = maths.numbers(invested + factors)
    known.log_atoms.append(cash)
    known.rollback = maths.log_sum(known.log_atoms)
    known.decision = known.rollback + known.log_boost
    known.peak = maths.maximum(known.peak, known.decision)


def _log_worth(log_tilts: Floats, log_atoms: Floats, own: Floats) -> Floats:
    """Logarithm of the wealth, (R,), had these answers been the challenger's, (R, K). log_atoms: of the alternatives, less what the window
    costs whoever it came from; the cash last."""
    grown = own @ log_tilts.T + log_atoms[:-1]
    return COLUMNS.log_sum([*grown.T, np.full(len(own), log_atoms[-1])])


def after(evidence: Evidence, guard: LatencyGuard, window: Window, *, log_cap: float) -> Evidence:
    """One window later. Until enough is known of the champion, and where an arm is empty, nothing is bet; all is remembered."""
    champion, challenger = window.champion.latency, window.challenger.latency
    row, margins = evidence.row, evidence.margins
    if evidence.reference and champion and challenger:
        tolerated = (guard.floor_pct, guard.tolerance_pct, guard.tolerance_ms)
        alternatives = slowdowns.build(evidence.reference, evidence.compared, *tolerated)
        own, other = slowdowns.dense(challenger), slowdowns.dense(champion)
        known = RECORD.of(FLOATS, evidence.row)
        grouped = alternatives.grouped(own, challenger=True), alternatives.grouped(other, challenger=False)
        update(known, alternatives, *(counts[None, :] for counts in grouped), log_cap=log_cap)
        row = known.numbers()
        margins = latency_margin.after(margins, latency_margin.cuts(evidence.measured, guard), own, other)
    kept = NO_COUNTS if total(evidence.champion) >= KEPT_REQUESTS else champion
    past = plus(evidence.champion, kept), plus(evidence.challenger, challenger)
    rest = evidence.reference, evidence.compared, evidence.beside, evidence.measured
    return _measured(_rebuilt(Evidence(row, margins, *past, *rest)), guard, champion)


def _rebuilt(evidence: Evidence) -> Evidence:
    """What the next bets are built from, if the past has grown enough."""
    seen0, used0 = total(evidence.champion), total(evidence.reference)
    seen1, used1 = total(evidence.challenger), total(evidence.compared)
    if seen0 < KNOWN_REQUESTS:
        return evidence
    grown1 = seen1 >= max(FIRST_COMPARED, CHALLENGER_GROWTH * used1)
    if seen0 < CHAMPION_GROWTH * used0 and not grown1:
        return evidence
    compared = evidence.challenger if seen1 >= FIRST_COMPARED else NO_COUNTS
    return replace(evidence, reference=evidence.champion, compared=compared)


def _measured(evidence: Evidence, guard: LatencyGuard, gained: Counts) -> Evidence:
    """What the quantiles to promote by are taken from: the champion's answers beside the challenger as soon as they tell them. What came before
    is from other times: replicas that start take processors from those that serve, and a quantile from then may lie
    where nobody answers any more, so that nothing can be shown there."""
    before = total(evidence.beside)
    beside = evidence.beside if before >= KEPT_REQUESTS else plus(evidence.beside, gained)
    seen, used = total(beside), total(evidence.measured)
    enough = max(float(KNOWN_REQUESTS), latency_margin.telling_requests(guard))
    if seen >= enough:
        anew, source = before < enough or seen >= MEASURED_GROWTH * used, beside
    else:
        known = total(evidence.champion)
        anew, source = known >= max(KNOWN_REQUESTS, MEASURED_GROWTH * used), evidence.champion
    return replace(evidence, beside=beside, measured=source if anew else evidence.measured)
