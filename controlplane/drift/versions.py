"""One version's counts, windows and verdict: what the watcher keeps of it between two passes.

Called by `watcher` alone. Counts are collected in the event loop; what takes long (calibration, 0.1 to 1 s once per window size) runs in a thread.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.drift import calibration, verdict, windows
from monitoring.drift.reference import Ints, Reference
from monitoring.drift.windows import Counted, Slice

from .ledger import Cursor, Judged, Key, Ledger

CALIBRATIONS = 64  # window sizes that are remembered per version
SLICES = 50  # of a full window
SLICE_S = 60.0  # a slice may be as old before it is written, however few its rows


@dataclass(frozen=True, slots=True)
class Policy:
    """rows: of the longest window, or what came within `longest` if that is less. false_alarms: share of windows without drift that raise an alarm."""

    rows: int = 5000
    longest: timedelta = timedelta(days=1)
    false_alarms: float = calibration.FALSE_ALARMS


@dataclass(frozen=True, slots=True)
class Window:
    """Newest rows of a version. time: None: there are none. false_alarms: what may be spent on it."""

    counts: Ints
    time: Slice | None
    false_alarms: float


class Version:
    """`opened` reads what was kept of it; `fed` adds what was counted since."""

    def __init__(self, key: Key, reference: Reference, policy: Policy) -> None:
        self.key = key
        self.reference = reference
        self.judged: Judged | None = None
        self._policy = policy
        self._slices: list[Slice] = []
        self._cursor: Cursor = {}
        self._since: datetime | None = None
        self._calibrations: OrderedDict[tuple[float, float], calibration.Calibration] = OrderedDict()
        self._least = calibration.least_rows(reference)

    async def opened(self, ledger: Ledger, now: datetime) -> None:
        self._slices = list(await ledger.slices(self.key, now - self._policy.longest))
        self._cursor = await ledger.cursor(self.key)
        self._since = self._slices[-1].end if self._slices else None

    async def fed(self, ledger: Ledger, readings: Iterable[Counted], now: datetime) -> None:
        """A slice is written when it is worth it. Until then the counters are left unread, so a crash loses nothing."""
        found = [reading for reading in readings if reading.profile == self.key.profile]
        gain, cursor = windows.gained(self._cursor, found, self.reference.size)
        rows = verdict.rows_of(self.reference, gain)
        since = self._since or now
        waited = (now - since).total_seconds()
        if rows == 0 and cursor.keys() <= self._cursor.keys():
            return
        if self._since is not None and rows < self._policy.rows / SLICES and 0 <= waited < SLICE_S:
            return
        alive = {reading.key for reading in found}
        kept = {key: counts for key, counts in cursor.items() if key in alive or key in self._cursor}
        made = Slice(min(since, now), max(since, now), rows, tuple(gain.tolist())) if rows else None
        await ledger.add(self.key, made, kept)
        self._cursor, self._since = kept, max(since, now)
        if made is not None:
            self._slices.append(made)
        self._trim(now)

    def _trim(self, now: datetime) -> None:
        """Twice a window is enough, for the other side of a comparison may reach further back."""
        have, keep = 0, 0
        for each in reversed(self._slices):
            if have >= 2 * self._policy.rows or now - each.end > self._policy.longest:
                break
            have, keep = have + each.rows, keep + 1
        self._slices = self._slices[len(self._slices) - keep :]

    def windows(self, now: datetime) -> tuple[Window, ...]:
        """The newest rows, in windows of the policy's length and halves of it; those that begin at the same slice are one."""
        lengths = windows.halves(self._policy.rows, self._least)
        found: dict[datetime | None, Window] = {}
        for place, rows in enumerate(lengths):
            counts, time = windows.sliding(
                self._slices, now=now, rows=rows, longest=self._policy.longest, size=self.reference.size
            )
            part = calibration.part(self._policy.false_alarms, place, len(lengths))
            found.setdefault(None if time is None else time.start, Window(counts, time, part))
        return tuple(found.values())

    def between(self, start: datetime, end: datetime) -> Ints:
        return windows.between(self._slices, start, end, self.reference.size)

    def judge(self, found: Sequence[Window]) -> tuple[Window, verdict.Verdict]:
        """The window to tell of. Blocks for up to a second the first time a window has this size."""
        verdicts = [self.judge_one(window.counts, window.false_alarms) for window in found]
        place = verdict.gravest(verdicts)
        return found[place], verdicts[place]

    def judge_one(self, counts: Ints, false_alarms: float) -> verdict.Verdict:
        rows = verdict.rows_of(self.reference, counts)
        return verdict.judge(self.reference, counts, self._calibrated(rows, false_alarms), least=self._least)

    def _calibrated(self, rows: int, false_alarms: float) -> calibration.Calibration | None:
        length = calibration.length_of(self.reference, rows)
        if length < 1.0:
            return None
        key = length, false_alarms
        if key not in self._calibrations:
            seed = zlib.crc32(f"{self.key.model} {self.key.version}".encode())
            self._calibrations[key] = calibration.calibrate(self.reference, rows, seed=seed, false_alarms=false_alarms)
            if len(self._calibrations) > CALIBRATIONS:
                self._calibrations.popitem(last=False)
        return self._calibrations[key]
