"""Does the challenger answer otherwise? Evidence from counts of answers, by class or by bin of a score.

Every class is an indicator (a score: "above this cut"), and each answer bets on its arm: if the challenger's odds of the class differ by more
than tolerated, its answers of that class come more or less often than its share. Up and down, two sizes of change each, scaled to
what can be told after 300 and 2000 requests (judge.md section 6). With a tolerance of one, scores also bet on a shift of the whole.
The rates are predicted from the past of both arms; a wrong prediction costs speed, never validity (`bet.on_known_odds`).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, log

import numpy as np
from scipy.special import ndtri

from . import answers, bet, copies, interval, wealth
from .maths import COLUMNS, FLOATS, Floats
from .policy import PredictionShiftGuard
from .records import Row
from .samples import NO_COUNTS, Counts, Window, plus
from .verdict import Effect, Measure

KNOWN_ANSWERS = 100  # of both arms before the classes are fixed and anything is bet
MOST_CLASSES = 100  # the rarer ones are one class together
MOST_CUTS = 32  # of a score; so that each has enough of the wealth, and answers on both sides
TELLING = (300.0, 2000.0)  # challenger requests after which the two sizes of change can be told,
TELLING_WEIGHTS = (0.25, 0.75)  # and the part of the wealth on each: the large ones are told soon anyway
FARTHEST = 2.3  # logarithm of the largest factor between odds that is bet on
UNSEEN_CLASSES = 0.1  # of the weight of a class that is known: most models never answer otherwise
SHIFTS = (0.1, 0.25)  # of the whole score, in standard deviations
SHIFTED = 0.5  # of the wealth of an ordered guard without tolerance goes on these
FEWER = (0.9, 0.7, 0.45, 0.25, 0.1)  # as in `counts`: shares that rise by less than the margin


@dataclass(frozen=True, slots=True)
class Evidence:
    """classes: those that are told apart (empty: not fixed yet); all others are one more. log_atoms: the wealth per class, direction and size, then
    on shifts of the whole, then the cash. log_margins: of "changed by less than the margin", per class and direction. age:
    requests that the cash has seen. log_boost: what removing the overshoot has added to the decision. champion / challenger: the past of both arms."""

    rollback: float = 0.0
    decision: float = 0.0
    peak: float = 0.0
    promotion: float = 0.0
    classes: tuple[int, ...] = ()
    log_atoms: Row = ()
    log_margins: tuple[Row, ...] = ()
    age: float = 0.0
    log_boost: float = 0.0
    champion: Counts = NO_COUNTS
    challenger: Counts = NO_COUNTS


def after(evidence: Evidence, guard: PredictionShiftGuard, window: Window, *, log_cap: float) -> Evidence:
    """One window later. Until enough is known, and where an arm is empty, nothing is bet; all is remembered."""
    champion, challenger = window.champion.answers, window.challenger.answers
    if evidence.classes and champion and challenger:
        own = _as_answered(guard, evidence.classes[0])
        tables = (_tabled(counts, evidence.classes, own) for counts in (challenger, champion))
        evidence = _bet(evidence, own, *tables, log_cap=log_cap)
    evidence = replace(evidence, champion=plus(evidence.champion, champion), challenger=plus(evidence.challenger, challenger))
    return evidence if evidence.classes else _fixed(evidence, guard)


def _as_answered(guard: PredictionShiftGuard, lowest: int) -> PredictionShiftGuard:
    """The guard, knowing whether there is an order; scores come before classes."""
    return guard if guard.ordered is not None else replace(guard, ordered=answers.is_score(lowest))


def _fixed(evidence: Evidence, guard: PredictionShiftGuard) -> Evidence:
    """Tell the classes apart once enough answers are known, and spread the wealth over them."""
    known = plus(evidence.champion, evidence.challenger)
    if sum(count for _, count in known) < KNOWN_ANSWERS:
        return evidence
    guard = _as_answered(guard, known[0][0])
    if guard.ordered:
        classes = _cuts(known)
    else:
        most = sorted(known, key=lambda pair: (-pair[1], pair[0]))[:MOST_CLASSES]
        classes = tuple(sorted(index for index, _ in most))
    atoms = np.log(np.append((1.0 - wealth.CASH) * _weights(guard, classes), wealth.CASH))
    margins = ((-log(len(FEWER)),) * len(FEWER),) * (2 * _indicators(guard, classes))
    return replace(evidence, classes=classes, log_atoms=tuple(atoms.tolist()), log_margins=margins)


def _cuts(known: Counts) -> tuple[int, ...]:
    """All bins that were seen, or so many of them that about as many answers lie between each and the next."""
    if len(known) <= MOST_CUTS:
        return tuple(index for index, _ in known)
    between = sum(count for _, count in known) / MOST_CUTS
    chosen, below = [known[0][0]], 0
    for index, count in known:
        below += count
        if index != chosen[0] and below >= between * len(chosen):
            chosen.append(index)
    return tuple(chosen[:MOST_CUTS])


@lru_cache(maxsize=256)
def _weights(guard: PredictionShiftGuard, classes: tuple[int, ...]) -> Floats:
    """Of the bets, in the order of the atoms: the same for each indicator (but less for classes unseen so far), direction and
    size, and for each shift."""
    parts, shifts = np.ones(_indicators(guard, classes)), _shifts(guard)
    if not guard.ordered:
        parts[-1] = UNSEEN_CLASSES
    shifted = SHIFTED if shifts else 0.0
    parts = np.outer(parts, np.tile(TELLING_WEIGHTS, 2)).ravel() * ((1.0 - shifted) / (2.0 * parts.sum()))
    return np.concatenate([parts, np.full(shifts, shifted / max(shifts, 1))])


def _indicators(guard: PredictionShiftGuard, classes: tuple[int, ...]) -> int:
    """A score with n bins has n - 1 cuts (one more for bins unseen so far); n classes and the rest are n + 1 indicators."""
    return len(classes) + (0 if guard.ordered else 1)


def _shifts(guard: PredictionShiftGuard) -> int:
    return 2 * len(SHIFTS) if guard.ordered and guard.tolerance_odds == 1.0 else 0


def _tabled(counts: Counts, classes: tuple[int, ...], guard: PredictionShiftGuard) -> Floats:
    """Counts of the classes and of all others together, shape (classes + 1,). Of a score: up to each cut, and beyond the last."""
    table, known = np.zeros(len(classes) + 1), {index: place for place, index in enumerate(classes)}
    for index, count in counts:
        table[bisect_left(classes, index) if guard.ordered else known.get(index, len(classes))] += count
    return table


def _indicated(table: Floats, guard: PredictionShiftGuard) -> Floats:
    """How many answers each indicator holds of, (..., indicators); table (..., classes + 1)."""
    if not guard.ordered:
        return table
    found: Floats = table[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    return found


def _bet(evidence: Evidence, guard: PredictionShiftGuard, challenger: Floats, champion: Floats, *, log_cap: float) -> Evidence:
    past = _tabled(plus(evidence.champion, evidence.challenger), evidence.classes, guard)
    pooled, n1 = challenger + champion, float(challenger.sum())
    released, cash, age = wealth.release(FLOATS, evidence.log_atoms[-1], evidence.age, n1)
    invested = np.logaddexp(evidence.log_atoms[:-1], released + np.log(_weights(guard, evidence.classes)))

    def log_atoms(own: Floats) -> Floats:
        """The wealth after the window, (R, atoms), had these answers been the challenger's, (R, classes + 1)."""
        grown = invested + _log_factors(guard, past, own, pooled - own, n1 / pooled.sum())
        return np.column_stack([grown, np.full(len(own), cash)])

    boost = evidence.log_boost
    if guard.tolerance_odds == 1.0:  # else equal versions are not all that is tolerated, and copies tell nothing of the others
        worth = lambda own: np.logaddexp.reduce(log_atoms(own), axis=1)  # noqa: E731
        boost += copies.log_boost(worth, challenger, champion, evidence.rollback, log_cap - boost)
    atoms = log_atoms(challenger[None, :])[0].tolist()
    now = FLOATS.log_sum(atoms)
    margins = np.array(evidence.log_margins) + _margins(guard, _windows(guard, challenger, champion))
    return replace(
        evidence,
        rollback=now,
        decision=now + boost,
        peak=max(evidence.peak, now + boost),
        promotion=float(COLUMNS.log_sum(list(margins.T)).min()),
        log_atoms=tuple(atoms),
        log_margins=tuple(map(tuple, margins.tolist())),
        age=age,
        log_boost=boost,
    )


def _windows(guard: PredictionShiftGuard, challenger: Floats, champion: Floats) -> bet.Window[Floats]:
    """One table per indicator; answers of shape (..., classes + 1)."""
    x1, x0 = _indicated(challenger, guard), _indicated(champion, guard)
    n1, n0 = (np.broadcast_to(each.sum(axis=-1, keepdims=True), x1.shape) for each in (challenger, champion))
    return bet.Window(n1, x1, n0, x0, n1 / (n1 + n0))


def _log_factors(guard: PredictionShiftGuard, past: Floats, challenger: Floats, champion: Floats, share: float) -> Floats:
    """Of the atoms but the cash, (R, atoms); answers (R, classes + 1), as many of each kind together in every row."""
    window = _windows(guard, challenger, champion)
    rates = np.clip((_indicated(past, guard) + 0.5) / (past.sum() + 1.0), 1e-6, 1.0 - 1e-6)
    odds = (guard.tolerance_odds,) * 2 + (1.0 / guard.tolerance_odds,) * 2
    factors = np.stack(bet.on_known_odds(COLUMNS, _sizes(rates), odds, window, rates), axis=-1).reshape(len(challenger), -1)
    return np.column_stack([factors, _whole(past, challenger, champion, share)]) if _shifts(guard) else factors


def _sizes(rates: Floats) -> list[Floats]:
    """Factors between odds beyond those tolerated, by indicator: up by two sizes, down by two."""
    sizes = [np.sqrt(2.0 * log(100.0) / (telling * rates * (1.0 - rates))) for telling in TELLING]
    up = [np.exp(np.minimum(size, FARTHEST)) for size in sizes]
    return [*up, *(1.0 / size for size in up)]


def _whole(past: Floats, challenger: Floats, champion: Floats, share: float) -> Floats:
    """Bets that the whole score has shifted, (R, shifts): tilts exp(b z) with the normal scores z of the bins."""
    part = (past + 0.5) / (past.sum() + 0.5 * len(past))
    scores = ndtri(np.clip(part.cumsum() - part / 2.0, 1e-6, 1.0 - 1e-6))
    by = np.array([*SHIFTS, *(-shift for shift in SHIFTS)])[:, None]
    tilts = np.exp(by * scores)
    tilts /= (tilts * part).sum(axis=1, keepdims=True)
    found: Floats = challenger @ np.log(tilts).T - (challenger + champion) @ np.log1p(share * (tilts - 1.0)).T
    return found


def _margins(guard: PredictionShiftGuard, window: bet.Window[Floats]) -> Floats:
    """Evidence that each share rose by less than the margin, and that it fell by less: the first with the arms exchanged."""
    others = bet.Window(window.n1, window.n1 - window.x1, window.n0, window.n0 - window.x0, window.share)
    return np.concatenate(
        [np.stack(bet.on_excess(COLUMNS, FEWER, guard.margin_pct / 100.0, each), axis=1) for each in (window, others)]
    )


def more(evidence: Evidence, needed: float) -> int | None:
    """Challenger answers still missing until the promotion's evidence is as needed; None: it is not on the way. It begins with what the bets on
    several sizes cost, and grows evenly from there."""
    answered = sum(count for _, count in evidence.challenger)
    if evidence.promotion <= 0.0 or not answered:
        return None
    rate = (evidence.promotion + log(len(FEWER))) / answered
    return max(1, ceil((needed - evidence.promotion) / rate))


def report(evidence: Evidence, guard: PredictionShiftGuard) -> tuple[Effect, tuple[Measure, ...]]:
    """The class (or cut) that carries most evidence: its share on both sides and the ratio of the shares with its confidence interval."""
    if not evidence.classes:
        return Effect(None, None, None, "share of an answer"), ()
    guard = _as_answered(guard, evidence.classes[0])
    per = np.array(evidence.log_atoms[: 4 * _indicators(guard, evidence.classes)]).reshape(-1, 4).max(axis=1)
    tables = [_tabled(counts, evidence.classes, guard) for counts in (evidence.champion, evidence.challenger)]
    seen = [_indicated(table, guard) for table in tables]
    most = int(np.where(seen[0] + seen[1] > 0.0, per, -np.inf).argmax())
    (n0, x0), (n1, x1) = ((int(table.sum()), int(held[most])) for table, held in zip(tables, seen, strict=True))
    name = _name(most, evidence.classes, guard)
    effect = interval.apart((n0, x0), (n1, x1), of=f"share_{name}")
    return effect, (Measure(f"share_{name}", x0 / n0 if n0 else None, x1 / n1 if n1 else None),)


def _name(most: int, classes: tuple[int, ...], guard: PredictionShiftGuard) -> str:
    if guard.ordered:
        return f"above_{answers.name(classes[most])}"
    return f"class_{answers.name(classes[most]).removeprefix('bin_')}" if most < len(classes) else "other_classes"
