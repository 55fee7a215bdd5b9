"""Colours, numbers with their units, and places on the page, as Grafana has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Json = dict[str, Any]

BACKGROUND, PANEL, FRAME, TEXT, FAINT = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#9a9ca0"
DOT = "#f042f0"  # an exemplar
NAMED = {
    "green": "#73bf69",
    "light-green": "#96d98d",
    "semi-dark-green": "#56a64b",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "light-blue": "#8ab8ff",
    "purple": "#b877d9",
}
PALETTE = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
    "#447ebc",
    "#c15c17",
)
MARKS = {"Deploy": "#5794f2", "Step": "#fade2a", "Promote": "#73bf69", "Rollback": "#f2495c", "Alert": "#ff9830"}


def color(name: str) -> str:
    return NAMED.get(name, name)


@dataclass(frozen=True, slots=True)
class Box:
    """A place on the page in inches, from the top left."""

    figure: Figure
    x: float
    y: float
    w: float
    h: float

    def inside(self, by: float) -> Box:
        return Box(self.figure, self.x + by, self.y + by, self.w - 2 * by, self.h - 2 * by)

    def axes(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Axes:
        """Within these margins."""
        width, height = self.figure.get_size_inches()
        w, h = self.w - left - right, self.h - top - bottom
        made: Axes = self.figure.add_axes(((self.x + left) / width, 1 - (self.y + top + h) / height, w / width, h / height))
        made.set_facecolor("none")
        return made

    def text(
        self, x: float, y: float, words: str, *, size: float = 8, color: str = TEXT, weight: str = "normal", align: str = "left"
    ) -> None:
        width, height = self.figure.get_size_inches()
        self.figure.text(
            (self.x + x) / width,
            1 - (self.y + y) / height,
            words,
            fontsize=size,
            color=color,
            weight=weight,
            ha=align,
            va="center",
        )


def shade(value: float, thresholds: Json) -> str:
    """The colour of the last step that the value has reached."""
    steps = [step for step in thresholds["steps"] if step["value"] is None or value >= step["value"]]
    return color(steps[-1]["color"] if steps else thresholds["steps"][0]["color"])


def mapped(value: float, mappings: Sequence[Json]) -> tuple[str, str] | None:
    """What a number is called, and its colour."""
    for mapping in mappings:
        found = mapping["options"].get(f"{value:g}")
        if found is not None:
            return found["text"], color(found["color"])
    return None


def written(value: float, unit: str, decimals: int | None = None, now: float = 0.0) -> str:
    """now: seconds since 1970, for ages."""
    if not isfinite(value):
        return "NaN" if isnan(value) else "Inf" if value > 0 else "-Inf"
    match unit:
        case "percentunit":
            return f"{value * 100:.{decimals if decimals is not None else 1}f}%"
        case "s":
            return _scaled(value, ((86400, "day"), (3600, "hour"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")), decimals)
        case "bytes":
            return _scaled(value, ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")), decimals)
        case "reqps":
            return f"{_plain(value, decimals)} req/s"
        case "dateTimeAsIso":
            return f"{datetime.fromtimestamp(value / 1000, UTC):%H:%M:%S}"
        case "dateTimeFromNow":
            return f"{_scaled(now - value / 1000, ((86400, 'days'), (3600, 'hours'), (60, 'minutes'), (1, 'seconds')), 0)} ago"
        case _:
            return _plain(value, decimals)


def _scaled(value: float, scales: Sequence[tuple[float, str]], decimals: int | None) -> str:
    size, name = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    number = value / size
    digits = decimals if decimals is not None else (0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2)
    return f"{number:.{digits}f} {name}" if value else f"0 {'s' if name == 'µs' else name}"


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def properties(name: str, overrides: Sequence[Json]) -> Mapping[str, Any]:
    """What overrides say of the series or column with this name."""
    found: dict[str, Any] = {}
    for override in overrides:
        kind, of = override["matcher"]["id"], override["matcher"]["options"]
        if (kind == "byName" and of == name) or (kind == "byRegexp" and re.search(of.strip("/"), name)):
            found |= {one["id"]: one["value"] for one in override["properties"]}
    return found
