"""PURE. How a value looks: unit, thresholds, names for numbers, and what one series or column has of its own. Grafana's JSON, typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

# One colour for one meaning on every dashboard.
GOOD, CAUTION, BAD, WORSE = "green", "yellow", "orange", "red"
NEUTRAL, QUIET = "blue", "#8e8e8e"
CHAMPION, CHALLENGER = "blue", "orange"

# Grafana's names of units.
RATIO, PLAIN, SECONDS, MILLISECONDS, BYTES = "percentunit", "none", "s", "ms", "bytes"
PER_SECOND, REQUESTS_PER_SECOND, TIME, AGO, WORD = "cps", "reqps", "dateTimeAsIso", "dateTimeFromNow", "string"


@dataclass(frozen=True, slots=True)
class Step:
    """From `value` on (None: from below) this colour."""

    value: float | None
    color: str


def steps(first: str, *others: tuple[float, str]) -> tuple[Step, ...]:
    """Ascending thresholds: the colour below all of them, then (value, colour from there on)."""
    if [value for value, _ in others] != sorted(value for value, _ in others):
        raise ValueError(f"thresholds ascend: {others}")
    return (Step(None, first), *(Step(value, color) for value, color in others))


def shade(color: str) -> tuple[Step, ...]:
    """No threshold: one colour."""
    return steps(color)


@dataclass(frozen=True, slots=True)
class Word:
    """What a number is called."""

    value: int
    text: str
    color: str


def mapping(words: Sequence[Word]) -> list[Json]:
    named = {str(word.value): {"color": word.color, "index": place, "text": word.text} for place, word in enumerate(words)}
    return [{"options": named, "type": "value"}] if named else []


@dataclass(frozen=True, slots=True)
class Override:
    """`of` is a series or column by its shown name; with slashes around it, a regular expression."""

    of: str
    properties: Mapping[str, Any]

    def json(self) -> Json:
        kind = "byRegexp" if self.of.startswith("/") else "byName"
        listed = [{"id": name, "value": value} for name, value in self.properties.items()]
        return {"matcher": {"id": kind, "options": self.of}, "properties": listed}


def colored(of: str, color: str, **more: Any) -> Override:
    return Override(of, {"color": {"fixedColor": color, "mode": "fixed"}, **more})


def dashed(of: str, color: str) -> Override:
    return colored(of, color, **{"custom.lineStyle": {"dash": [6, 4], "fill": "dash"}, "custom.fillOpacity": 0})


# Lines of versions, named `champion v3`: their colours follow the role, not the number.
ROLES = (
    colored("/^champion/", CHAMPION),
    colored("/^challenger/", CHALLENGER),
    colored("/^(previous|leaving)/", QUIET),
)


@dataclass(frozen=True, slots=True)
class Field:
    """What all values of a panel have in common. low, high: ends of the axis or gauge. decimals: None lets Grafana choose."""

    unit: str
    thresholds: tuple[Step, ...] = (Step(None, GOOD),)
    words: tuple[Word, ...] = ()
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    by_threshold: bool = False
    nothing: str = ""

    def json(self, custom: Mapping[str, Any]) -> Json:
        made: Json = {
            "color": {"mode": "thresholds" if self.by_threshold else "palette-classic"},
            "custom": dict(custom),
            "mappings": mapping(self.words),
            "thresholds": {
                "mode": "absolute",
                "steps": [{"color": step.color, "value": step.value} for step in self.thresholds],
            },
            "unit": self.unit,
        }
        ends = {"min": self.low, "max": self.high, "decimals": self.decimals, "noValue": self.nothing or None}
        return made | {name: value for name, value in ends.items() if value is not None}
