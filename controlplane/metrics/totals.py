"""Requests, errors and latencies per version, added up over gateways, replicas and epochs.

Fed by the recorder with each reading of the gateways' counts. A gateway's own counters are per epoch and replica, so they come and
go; what is exported must only ever rise. Must not be asked what happened before this process first read them: it does not know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from judge import bins
from judge.samples import NO_COUNTS, Counts, Key, Sample, plus
from monitoring import names

# The first bin above each edge: a bin that begins at the edge lies above it.
_EDGE_BINS = tuple(int(bins.index_of(edge * 1e6)) for edge in names.ANSWER_S)


@dataclass(frozen=True, slots=True)
class Total:
    """Since this process first read the counts."""

    requests: int = 0
    errors: int = 0
    latency: Counts = NO_COUNTS

    @property
    def latency_sum_s(self) -> float:
        """To within half a bin, that is 5 %: the gateway keeps no sum."""
        edges = bins.lower_us()
        return float(sum(count * (edges[index] + edges[min(index + 1, bins.BINS - 1)]) / 2e6 for index, count in self.latency))

    def below(self) -> tuple[int, ...]:
        """Answers below each of the edges of names.ANSWER_S, and all of them."""
        found = [0] * (len(_EDGE_BINS) + 1)
        for index, count in self.latency:
            found[bisect_right(_EDGE_BINS, index)] += count
        for place in range(1, len(found)):
            found[place] += found[place - 1]
        return tuple(found)


class Totals:
    """Of one model."""

    def __init__(self) -> None:
        self._last: dict[Key, Sample] | None = None
        self._totals: dict[int, Total] = {}

    def feed(self, samples: Iterable[Sample]) -> None:
        """A counter that was not there at the last reading began at zero since; those of the first reading are the start."""
        last, self._last = self._last, {sample.key: sample for sample in samples}
        for key, now in self._last.items():
            total = self._totals.setdefault(now.version, Total())
            before = now if last is None else last.get(key)
            if before is None or now.requests < before.requests or now.errors < before.errors:
                before = Sample(now.gateway, now.epoch, now.version, 0, 0)
            if now is before:
                continue
            gained = _gained(before.latency, now.latency)
            if now.requests == before.requests and not gained:
                continue
            self._totals[now.version] = Total(
                total.requests + now.requests - before.requests,
                total.errors + now.errors - before.errors,
                plus(total.latency, gained),
            )

    def keep(self, versions: Collection[int]) -> None:
        """Forget the versions that are no longer in service."""
        for version in self._totals.keys() - set(versions):
            del self._totals[version]

    def now(self) -> Mapping[int, Total]:
        return dict(self._totals)


def _gained(before: Counts, now: Counts) -> Counts:
    """Never negative: the latencies of a counter that fell are new ones, all of them."""
    known = dict(before)
    return tuple((index, gained) for index, count in now if (gained := count - known.get(index, 0)) > 0)
