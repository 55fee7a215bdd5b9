"""Cumulative counts as a gateway reports them, and the windows between two readings of them.

Called by the control plane's pass with what `rollout.ports.Gateway.samples` returned. Counters are cumulative, so a missed
reading loses nothing, and the cursor is stored with the rollout, so a restart never counts a window twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import bins

Counts = tuple[tuple[int, int], ...]  # (bin, count), bins ascending, empty bins left out
NO_COUNTS: Counts = ()


class InvalidSamples(ValueError):
    """The counts cannot be true: negative, or more errors than requests."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Cumulative counts of one version in one split epoch, as one gateway process reports them for one replica.

    gateway: identity of the gateway *process*, new after every restart, so counters of two lives are never subtracted. Each gateway
    is a stratum: its windows are compared with each other only, since another gateway may see other traffic at another share.
    replica: the address behind it that answered ("" where it is not told apart). It matters for the A/A self-check alone.
    epoch: the split epoch under which the requests *arrived* (late timeouts count where they arrived).
    requests: logical requests through the split route, retries counted once. errors: those answered 5xx or not at all.
    latency: of the requests that were no errors, in the bins of `judge.bins` (OpenHistogram, two significant digits).
    answers: by class, or by bin of the score, as `judge.answers` numbers them. Replicas count them, and do not know which gateway asked: they come in
    samples of their own, without requests, whose gateway is no gateway. labelled / wrong: requests whose truth is known, and failed it.
    lost / won: of pairs that both versions answered (shadow), those that only this version got wrong, and only the other one.
    """

    gateway: str
    epoch: int
    version: int
    requests: int
    errors: int
    replica: str = ""
    latency: Counts = NO_COUNTS
    answers: Counts = NO_COUNTS
    labelled: int = 0
    wrong: int = 0
    lost: int = 0
    won: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= self.requests:
            raise InvalidSamples(
                f"impossible counts: {self.errors} errors in {self.requests} requests (version {self.version})"
            )
        if not (0 <= self.wrong <= self.labelled and self.lost >= 0 and self.won >= 0):
            raise InvalidSamples(
                f"impossible counts: {self.wrong} of {self.labelled} labelled requests wrong, {self.lost} pairs lost and "
                f"{self.won} won (version {self.version})"
            )
        for name, counts in (("latency", self.latency), ("answers", self.answers)):
            indices = [index for index, _ in counts]
            if not all(count >= 0 for _, count in counts) or indices != sorted(set(indices)):
                raise InvalidSamples(
                    f"impossible {name} counts of version {self.version}: bins must ascend, counts be positive"
                )
        if self.latency and not 0 <= self.latency[0][0] <= self.latency[-1][0] < bins.BINS:
            raise InvalidSamples(f"impossible latency counts of version {self.version}: bins are 0 to {bins.BINS - 1}")

    @property
    def key(self) -> Key:
        """What the counters belong to: only those of one key are ever subtracted."""
        return self.gateway, self.replica, self.epoch, self.version


Key = tuple[str, str, int, int]


@dataclass(frozen=True, slots=True)
class Arm:
    """One version's part of a window; fields as in `Sample`."""

    requests: int = 0
    errors: int = 0
    latency: Counts = NO_COUNTS
    answers: Counts = NO_COUNTS
    labelled: int = 0
    wrong: int = 0
    lost: int = 0
    won: int = 0

    @property
    def answered(self) -> int:
        """Answers that were counted."""
        return sum(count for _, count in self.answers)

    def __add__(self, other: Arm) -> Arm:
        return Arm(
            self.requests + other.requests,
            self.errors + other.errors,
            plus(self.latency, other.latency),
            plus(self.answers, other.answers),
            self.labelled + other.labelled,
            self.wrong + other.wrong,
            self.lost + other.lost,
            self.won + other.won,
        )


@dataclass(frozen=True, slots=True)
class Window:
    """What arrived at one gateway under one split epoch between two readings, on both arms."""

    epoch: int
    champion: Arm
    challenger: Arm
    gateway: str = ""


Cursor = tuple[Sample, ...]


def windows(cursor: Cursor, samples: Iterable[Sample], champion: int, challenger: int) -> tuple[tuple[Window, ...], Cursor]:
    """The windows since `cursor`, one per gateway and epoch, and the new cursor.

    A counter that fell (a reset that kept its gateway identity) contributes nothing and becomes the new base: evidence is
    never invented. A gateway process seen for the first time counts from zero. Gateways that do not answer this time keep
    their place in the cursor.
    """
    seen = {s.key: s for s in cursor}
    gained: dict[tuple[int, str], dict[int, Arm]] = {}
    for sample in samples:
        if sample.version not in (champion, challenger):
            continue
        before = seen.get(sample.key)
        seen[sample.key] = sample
        gain = None if before == sample else _since(before, sample)
        if gain is None:
            continue
        arms = gained.setdefault((sample.epoch, sample.gateway), {})
        arms[sample.version] = arms[sample.version] + gain if sample.version in arms else gain
    found = tuple(
        Window(epoch, arms.get(champion, Arm()), arms.get(challenger, Arm()), gateway)
        for (epoch, gateway), arms in sorted(gained.items(), key=lambda item: item[0])
        if any(arm != Arm() for arm in arms.values())
    )
    return found, tuple(seen[key] for key in sorted(seen))


def _since(before: Sample | None, now: Sample) -> Arm | None:
    """What came to a sample since `before`; None if any counter fell."""
    if before is None:
        return Arm(now.requests, now.errors, now.latency, now.answers, now.labelled, now.wrong, now.lost, now.won)
    latency, answers = minus(now.latency, before.latency), minus(now.answers, before.answers)
    requests, errors = now.requests - before.requests, now.errors - before.errors
    labelled, wrong = now.labelled - before.labelled, now.wrong - before.wrong
    lost, won = now.lost - before.lost, now.won - before.won
    if latency is None or answers is None or min(requests, errors, labelled, wrong, lost, won) < 0:
        return None
    return (
        None if errors > requests or wrong > labelled else Arm(requests, errors, latency, answers, labelled, wrong, lost, won)
    )


def total(counts: Counts) -> int:
    return sum([count for _, count in counts])


def plus(left: Counts, right: Counts) -> Counts:
    """Both together."""
    if not left or not right:
        return left or right
    both = dict(left)
    for index, count in right:
        both[index] = both.get(index, 0) + count
    # no new bins: they ascend already
    return tuple(both.items()) if len(both) == len(left) else tuple(sorted(both.items()))


def minus(now: Counts, before: Counts) -> Counts | None:
    """What came since; None if any bin fell."""
    if not before:
        return now
    known = dict(before)
    gained = tuple([(index, more) for index, count in now if (more := count - known.get(index, 0))])
    gone = known.keys() - dict(now).keys()
    fell = any(more < 0 for _, more in gained) or any(known[index] for index in gone)
    return None if fell else gained
