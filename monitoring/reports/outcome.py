"""PURE. What one report is asked for and how it ended, as documents: between parent and child, in MLflow, in the API.

A report that could not be made is an outcome with a reason, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

FORMAT = 1
HTML, EVIDENTLY, RESULT = "report.html", "evidently.json", "result.json"
STATEMENT = (
    "Evidently's thresholds are fixed and not calibrated to these rows; it flags windows without drift often. "
    "The verdict is that of the streaming drift, and of the integrity checks below."
)


class End(StrEnum):
    DONE = "done"
    TOO_FEW_ROWS = "too_few_rows"
    NO_REFERENCE = "no_reference"
    OTHER_SCHEMA = "other_schema"
    LOG_AWAY = "log_away"
    REGISTRY_AWAY = "registry_away"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    LATE = "late"


class Trigger(StrEnum):
    SCHEDULE = "schedule"
    ALARM = "alarm"
    HAND = "hand"


@dataclass(frozen=True, slots=True)
class Job:
    """What a child is to do. root: of the prediction log. reference: a Parquet file. clocks: columns that follow the time, whose drift is
    not compared. limit: rows at most, the newest ones. into: an empty folder."""

    root: str
    model: str
    version: int
    start: datetime
    end: datetime
    limit: int
    reference: Path
    clocks: tuple[str, ...]
    into: Path

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        paths = {"reference": str(self.reference), "into": str(self.into)}
        return {**found, **paths, "start": self.start.isoformat(), "end": self.end.isoformat()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Job:
        return cls(
            root=str(document["root"]),
            model=str(document["model"]),
            version=int(document["version"]),
            start=datetime.fromisoformat(document["start"]),
            end=datetime.fromisoformat(document["end"]),
            limit=int(document["limit"]),
            reference=Path(document["reference"]),
            clocks=tuple(document["clocks"]),
            into=Path(document["into"]),
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of our own checks, which see what Evidently does not."""

    column: str
    kind: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Score:
    """Evidently's of one column. drifted: by its own threshold; a p-value is low where a distance is high."""

    column: str
    method: str
    score: float
    threshold: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class Result:
    """reason: why it ended so; empty if it is done. left_out: columns that Evidently was not given, each with why."""

    end: End
    reason: str = ""
    rows: int = 0
    reference_rows: int = 0
    checks: tuple[Check, ...] = ()
    scores: tuple[Score, ...] = ()
    left_out: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self), "left_out": dict(self.left_out or {}), "statement": STATEMENT}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Result:
        """Raises ValueError, KeyError or TypeError if it is none."""
        return cls(
            end=End(document["end"]),
            reason=str(document["reason"]),
            rows=int(document["rows"]),
            reference_rows=int(document["reference_rows"]),
            checks=tuple(Check(**each) for each in document["checks"]),
            scores=tuple(Score(**each) for each in document["scores"]),
            left_out=dict(document["left_out"]),
        )
