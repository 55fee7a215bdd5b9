"""The observed split: what the gateways counted per version in the last seconds.

Fed by each pass with the cumulative counts it read anyway; asked by the API, from memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from judge.samples import NO_COUNTS, Counts, Sample, plus
from rollout import model

from .api import services

WINDOW_S = 10.0  # at least; a model without a rollout is looked at less often than that


class TrafficMeter:
    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._readings: dict[str, deque[tuple[datetime, tuple[Sample, ...]]]] = {}
        self._unknown: dict[str, str] = {}

    def feed(self, model_name: str, now: datetime, samples: tuple[Sample, ...] | model.Unknown) -> None:
        if isinstance(samples, model.Unknown):
            self._unknown[model_name] = samples.reason
            return
        self._unknown.pop(model_name, None)
        readings = self._readings.setdefault(model_name, deque())
        readings.append((now, samples))
        while len(readings) > 2 and (now - readings[1][0]).total_seconds() >= self._window_s:
            readings.popleft()

    def traffic(self, model_name: str) -> services.ObservedSplit:
        if model_name in self._unknown:
            return services.ObservedSplit(reason=self._unknown[model_name])
        readings = self._readings.get(model_name)
        if not readings or len(readings) < 2:
            return services.ObservedSplit(reason="not counted yet")
        (start, before), (end, after) = readings[0], readings[-1]
        window_s = (end - start).total_seconds()
        base = {s.key: s for s in before}
        gained = [(sample, _since(base.get(sample.key), sample)) for sample in after]
        rate = sum(requests for _, (requests, _) in gained) / window_s if window_s > 0 else None
        # Shares only under the newest split: mixed with those of the split before, they would match neither.
        newest = max((sample.epoch for sample, (requests, _) in gained if requests), default=0)
        return services.ObservedSplit(
            window_s=window_s,
            requests_per_s=rate,
            versions=_shares((sample.version, *counts) for sample, counts in gained if sample.epoch == newest),
        )

    def latency(self, model_name: str, version: int) -> Counts:
        """How long this version's answers took, of all that are still counted."""
        readings = self._readings.get(model_name)
        found = NO_COUNTS
        for sample in readings[-1][1] if readings else ():
            found = plus(found, sample.latency) if sample.version == version else found
        return found


def _since(before: Sample | None, now: Sample) -> tuple[int, int]:
    """Requests and errors gained; none if a counter fell."""
    requests = now.requests - (before.requests if before else 0)
    errors = now.errors - (before.errors if before else 0)
    return (requests, errors) if requests >= 0 and errors >= 0 else (0, 0)


def _shares(counts: Iterable[tuple[int, int, int]]) -> tuple[services.ObservedVersion, ...]:
    sums: dict[int, tuple[int, int]] = {}
    for version, requests, errors in counts:
        known = sums.get(version, (0, 0))
        sums[version] = (known[0] + requests, known[1] + errors)
    total = sum(requests for requests, _ in sums.values())
    return tuple(
        services.ObservedVersion(version, requests, errors, 100.0 * requests / total)
        for version, (requests, errors) in sorted(sums.items())
        if requests
    )
