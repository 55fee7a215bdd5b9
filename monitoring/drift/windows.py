"""PURE. From cumulative counters to sliding windows: what was gained between two readings, added up over replicas, kept in slices of time.

Counters belong to a process. One that starts anew counts from zero under a new identity, so nothing is subtracted across its two lives; one that
falls all the same adds nothing and is the new base. Evidence is never invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from .reference import Ints


@dataclass(frozen=True, slots=True)
class Counted:
    """Cumulative counts of one process of one replica, flat, as its profile lays them out. profile: its fingerprint."""

    replica: str
    process: str
    profile: str
    counts: tuple[int, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.replica, self.process


@dataclass(frozen=True, slots=True)
class Slice:
    """What all replicas of a version gained from `start` until `end`; rows: of the predictions, or the fullest column."""

    start: datetime
    end: datetime
    rows: int
    counts: tuple[int, ...]


Cursor = Mapping[tuple[str, str], tuple[int, ...]]


def gained(cursor: Cursor, readings: Iterable[Counted], size: int) -> tuple[Ints, dict[tuple[str, str], tuple[int, ...]]]:
    """Gains since the cursor, flat, and the new cursor. Replicas that did not answer keep their place; counts of another length than
    `size`, or of a process that counted less than before, add nothing."""
    total = np.zeros(size, dtype=np.int64)
    after = dict(cursor)
    for reading in readings:
        now = np.array(reading.counts, dtype=np.int64)
        if len(now) != size or (now < 0).any():
            continue
        known = after.get(reading.key)
        before = np.zeros(size, dtype=np.int64) if known is None or len(known) != size else np.array(known, dtype=np.int64)
        if (now >= before).all():
            total += now - before
        after[reading.key] = reading.counts
    return total, after


def sliding(slices: Sequence[Slice], *, now: datetime, rows: int, longest: timedelta, size: int) -> tuple[Ints, Slice | None]:
    """The newest slices (given oldest first) that together have at least `rows` rows, none that ended longer than `longest` ago: their
    counts, and start, end and rows in a slice of their own. None: there are none. A clock that went back counts as no time."""
    total = np.zeros(size, dtype=np.int64)
    taken: list[Slice] = []
    have = 0
    for each in reversed(slices):
        if have >= rows or now - each.end > longest or len(each.counts) != size:
            break
        total += np.array(each.counts, dtype=np.int64)
        have += each.rows
        taken.append(each)
    if not taken:
        return total, None
    start, end = min(each.start for each in taken), max(each.end for each in taken)
    return total, Slice(start, max(start, end), have, tuple(total.tolist()))


def halves(rows: int, least: int) -> tuple[int, ...]:
    """Rows of the windows that are judged at once, the longest first: a large change shows in few rows, a small one needs many."""
    found = [rows]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return tuple(found)


def between(slices: Sequence[Slice], start: datetime, end: datetime, size: int) -> Ints:
    """Counts of the slices that overlap this time."""
    total = np.zeros(size, dtype=np.int64)
    for each in slices:
        if each.end > start and each.start < end and len(each.counts) == size:
            total += np.array(each.counts, dtype=np.int64)
    return total
