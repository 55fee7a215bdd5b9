"""What the champions answered in the last hour, per model and replica: the judge's A/A self-check looks at it before a rollout.

Fed by each pass with the counts it read anyway. Kept in memory, packed: after a restart there is less history, and the check says so.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import astuple
from datetime import datetime

import orjson

from judge.samples import Sample
from judge.selfcheck import Reading

KEPT_S = 3600.0
SPACING_S = 10.0  # between readings that are kept: incidents last longer, and looks at idle models are about as far apart


class History:
    def __init__(self, *, kept_s: float = KEPT_S, spacing_s: float = SPACING_S) -> None:
        self._kept_s = kept_s
        self._spacing_s = spacing_s
        self._readings: dict[str, deque[tuple[float, bytes]]] = {}
        self._champions: dict[str, int] = {}

    def feed(self, model_name: str, now: datetime, champion: int | None, samples: Iterable[Sample]) -> None:
        """The champion's part of these cumulative counts, if the last that was kept is old enough."""
        if champion is None:
            self._readings.pop(model_name, None)
            return
        if self._champions.get(model_name) != champion:  # another version: its past says nothing about this one
            self._champions[model_name] = champion
            self._readings[model_name] = deque()
        kept, at_s = self._readings.setdefault(model_name, deque()), now.timestamp()
        if kept and at_s - kept[-1][0] < self._spacing_s:
            return
        own = [astuple(sample) for sample in samples if sample.version == champion]
        kept.append((at_s, zlib.compress(orjson.dumps(own), 1)))
        while at_s - kept[0][0] > self._kept_s:
            kept.popleft()

    def readings(self, model_name: str) -> tuple[Reading, ...]:
        """Oldest first."""
        return tuple(
            Reading(at_s, tuple(_sample(values) for values in orjson.loads(zlib.decompress(packed))))
            for at_s, packed in self._readings.get(model_name, ())
        )


def _sample(values: list[object]) -> Sample:
    """Back from JSON, which has lists for tuples."""
    return Sample(*(_counts(value) if isinstance(value, list) else value for value in values))  # type: ignore[arg-type]  # in the order of the fields


def _counts(pairs: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(pair) for pair in pairs)
