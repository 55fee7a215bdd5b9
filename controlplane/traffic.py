"""The observed split: what the gateways counted per version in the last seconds.

Fed by each pass with the cumulative counts it read anyway; asked by the API, from memory.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from judge.samples import Sample
from rollout import model

from .api import services

WINDOW_S = 30.0


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

    def forget(self, model_name: str) -> None:
        self._readings.pop(model_name, None)
        self._unknown.pop(model_name, None)

    def traffic(self, model_name: str) -> services.ObservedSplit:
        if model_name in self._unknown:
            return services.ObservedSplit(reason=self._unknown[model_name])
        readings = self._readings.get(model_name)
        if not readings or len(readings) < 2:
            return services.ObservedSplit(reason="not counted yet")
        (start, before), (end, after) = readings[0], readings[-1]
        window_s = (end - start).total_seconds()
        base = {(s.gateway, s.epoch, s.version): s for s in before}
        gained: dict[int, list[int]] = {}
        for sample in after:
            old = base.get((sample.gateway, sample.epoch, sample.version))
            requests = sample.requests - (old.requests if old else 0)
            errors = sample.errors - (old.errors if old else 0)
            if requests > 0:
                total = gained.setdefault(sample.version, [0, 0])
                total[0] += requests
                total[1] += max(0, errors)
        total_requests = sum(requests for requests, _ in gained.values())
        versions = tuple(
            services.ObservedVersion(version, requests, errors, 100.0 * requests / total_requests)
            for version, (requests, errors) in sorted(gained.items())
        )
        rate = total_requests / window_s if window_s > 0 else None
        return services.ObservedSplit(window_s=window_s, requests_per_s=rate, versions=versions)
