"""What became of replayed requests: the class of each answer, and the sums over all. PURE; used by replay, tests and bench.

The classes tell whose failure it was: a version's own (`model_error`), the client's, or ours (`gateway_or_transport`).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

STEP = 1.01  # latency bins grow by 1 %


class Outcome(StrEnum):
    OK = "ok"
    MODEL_ERROR = "model_error"  # a version answered that its model raised
    CLIENT_ERROR = "client_error"  # a version answered that the request is wrong
    GATEWAY = "gateway_or_transport"  # everything else: nobody's answer, 502/503/504, refused, timed out
    UNSENT = "unsent"  # too many requests were unanswered; this one was not sent


@dataclass(frozen=True, slots=True)
class Record:
    """One request. `at` is when it was due (seconds since 1970), and latency counts from there. status 0: no answer."""

    at: float
    latency_ms: float
    status: int
    version: int | None
    outcome: Outcome
    detail: str = ""

    def line(self) -> str:
        fields: dict[str, Any] = {
            "at": round(self.at, 6),
            "ms": round(self.latency_ms, 3),
            "status": self.status,
            "version": self.version,
            "outcome": self.outcome.value,
        }
        if self.detail:
            fields["detail"] = self.detail
        return json.dumps(fields, separators=(",", ":"))


def classify(status: int, version: int | None, body: bytes) -> Outcome:
    """Of an answer that arrived. Errors that no version answered are the gateway's."""
    if 200 <= status < 300:
        return Outcome.OK
    if version is not None and 400 <= status < 500:
        return Outcome.CLIENT_ERROR
    if version is not None and status == 500 and _problem(body).endswith("/model-error"):
        return Outcome.MODEL_ERROR
    return Outcome.GATEWAY


def _problem(body: bytes) -> str:
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return ""


@dataclass(slots=True)
class _Version:
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    first_at: float = math.inf
    last_at: float = 0.0
    last_answer_at: float = 0.0


class Tally:
    """Sums of bounded size, however long the replay runs."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.failures: Counter[str] = Counter()  # why, of those that are ours
        self._versions: dict[int, _Version] = {}
        self._latencies: Counter[int] = Counter()
        self._max_ms = 0.0

    def add(self, record: Record) -> None:
        self.outcomes[record.outcome] += 1
        if record.outcome is Outcome.UNSENT:
            return
        if record.outcome is Outcome.GATEWAY:
            self.failures[record.detail or f"status {record.status}"] += 1
        self._latencies[math.ceil(math.log(max(record.latency_ms, 1e-3), STEP))] += 1
        self._max_ms = max(self._max_ms, record.latency_ms)
        if record.version is not None:
            version = self._versions.setdefault(record.version, _Version())
            version.outcomes[record.outcome] += 1
            version.first_at = min(version.first_at, record.at)
            version.last_at = max(version.last_at, record.at)
            version.last_answer_at = max(version.last_answer_at, record.at + record.latency_ms / 1000)

    def quantiles_ms(self, shares: Iterable[float]) -> list[float]:
        """Upper bounds, at most 1 % above the true ones."""
        total = sum(self._latencies.values())
        found = []
        for share in shares:
            needed, seen = share * total, 0
            for place in sorted(self._latencies):
                seen += self._latencies[place]
                if seen >= needed:
                    found.append(round(min(STEP**place, self._max_ms), 3))
                    break
        return found

    def to_json(self) -> dict[str, Any]:
        sent = sum(self.outcomes.values()) - self.outcomes[Outcome.UNSENT]
        names = ("p50", "p90", "p99", "p999", "max")
        return {
            "sent": sent,
            "outcomes": {outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "failures": dict(self.failures.most_common(20)),
            "latency_ms": dict(zip(names, self.quantiles_ms((0.5, 0.9, 0.99, 0.999, 1.0)), strict=False)),
            "versions": {
                str(number): {
                    "requests": sum(version.outcomes.values()),
                    "outcomes": {outcome.value: count for outcome, count in version.outcomes.items()},
                    "first_at": round(version.first_at, 6),
                    "last_at": round(version.last_at, 6),
                    "last_answer_at": round(version.last_answer_at, 6),
                }
                for number, version in sorted(self._versions.items())
            },
        }
