"""Does the challenger answer more slowly? Evidence from latency histograms, window by window.

Each answer of a window bets on its arm: an answer slower than most of the champion's is likelier the challenger's if that is slower. What is
bet on are the alternatives of `slowdowns`, mixed; see there for what is refuted and why. The alternatives are built from
the past alone and built anew when the past has grown enough; whether it has depends on counts of requests only.
Called by `guards`; the kernel `update` serves many rollouts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import latency_margin, records, slowdowns, wealth
from .policy import LatencyGuard
from .records import HEAD, Records, Row
from .samples import NO_COUNTS, Counts, Window, plus

Floats = NDArray[np.float64]

ALTERNATIVES = len(slowdowns.WEIGHTS)
KNOWN_REQUESTS = 100  # champion requests before anything is bet
CHAMPION_GROWTH = 1.5  # the alternatives are built anew when the champion's past has grown so many times,
CHALLENGER_GROWTH = 1.4  # or the challenger's
FIRST_COMPARED = 30  # challenger requests from which they are learned from
KEPT_REQUESTS = 200_000  # of the champion's past; more tells nothing new

RECORD = np.dtype([*HEAD, ("log_atoms", "f8", (ALTERNATIVES + 1,)), ("age", "f8")])
_LOG_WEIGHTS = np.log(slowdowns.WEIGHTS)


@dataclass(frozen=True, slots=True)
class Evidence:
    """row: of RECORD. margins: one row per guarded quantile (see `latency_margin`). champion / challenger: the past of both arms.
    reference / compared: the part of it that the alternatives are built from."""

    row: Row
    margins: tuple[Row, ...]
    champion: Counts = NO_COUNTS
    challenger: Counts = NO_COUNTS
    reference: Counts = NO_COUNTS
    compared: Counts = NO_COUNTS

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
        """Of the guarded quantile that has least."""
        return min(row[3] for row in self.margins)


def fresh(size: int = 1) -> Records:
    found: Records = np.zeros(size, RECORD)
    found["log_atoms"] = np.log(np.append((1.0 - wealth.CASH) * slowdowns.WEIGHTS, wealth.CASH))
    return found


def opened(guard: LatencyGuard, champion: Counts = NO_COUNTS) -> Evidence:
    """Nothing known but what the champion answered before there was a challenger."""
    margins = tuple(records.pack(latency_margin.fresh(len(guard.quantiles_pct))))
    return _rebuilt(Evidence(records.pack(fresh())[0], margins, champion=champion))


def update(known: Records, tilts: Floats, log_tilts: Floats, challenger: Floats, champion: Floats) -> None:
    """One window for each row, in place. tilts (R or 1, J, K); counts by group of both arms (R, K)."""
    n1, n0 = challenger.sum(axis=1), champion.sum(axis=1)
    both = (n1 > 0.0) & (n0 > 0.0)
    share = n1 / np.maximum(n1 + n0, 1.0)
    pooled = (challenger + champion)[:, :, None]
    costs = np.log1p(share[:, None, None] * (tilts - 1.0)) @ pooled
    factors = (log_tilts @ challenger[:, :, None] - costs)[:, :, 0]
    if not both.all():
        n1, factors = n1 * both, factors * both[:, None]
    atoms = known["log_atoms"]
    wealth.invest(atoms[:, :-1], atoms[:, -1], known["age"], n1, _LOG_WEIGHTS)
    atoms[:, :-1] += factors
    evidence = np.logaddexp.reduce(atoms, axis=1)
    known["rollback"] = known["decision"] = evidence
    known["peak"] = np.maximum(known["peak"], evidence)


def after(evidence: Evidence, guard: LatencyGuard, window: Window) -> Evidence:
    """One window later. Until enough is known of the champion, and where an arm is empty, nothing is bet; all is remembered."""
    champion, challenger = window.champion.latency, window.challenger.latency
    if evidence.reference and champion and challenger:
        tolerated = (guard.floor_pct, guard.tolerance_pct, guard.tolerance_ms)
        alternatives = slowdowns.build(evidence.reference, evidence.compared, *tolerated)
        own, other = slowdowns.dense(challenger)[None, :], slowdowns.dense(champion)[None, :]
        known = records.unpack([evidence.row], RECORD)
        update(
            known,
            alternatives.tilts[None, :, :],
            alternatives.log_tilts[None, :, :],
            alternatives.grouped(own, challenger=True),
            alternatives.grouped(other, challenger=False),
        )
        margins = records.unpack(evidence.margins, latency_margin.RECORD)
        latency_margin.update(margins, latency_margin.cuts(evidence.reference, guard), own[0], other[0])
        evidence = replace(evidence, row=records.pack(known)[0], margins=tuple(records.pack(margins)))
    if total(evidence.champion) < KEPT_REQUESTS:
        evidence = replace(evidence, champion=plus(evidence.champion, champion))
    return _rebuilt(replace(evidence, challenger=plus(evidence.challenger, challenger)))


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


def total(counts: Counts) -> int:
    return sum(count for _, count in counts)
