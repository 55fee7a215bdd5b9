"""PURE. The kinds of panels that the dashboards are made of, each a function; what they become is Grafana's classic JSON.

A panel knows its size but not its place: `dashboard.py` lays them out. Sizes are in Grafana's grid, 24 columns wide, a row of it 30 pixels high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .fields import Field, Json, Override

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
TRACES: Json = {"type": "tempo", "uid": "traces"}
REDUCED: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


@dataclass(frozen=True, slots=True)
class Target:
    """One query. legend: the name of its series, labels in double braces. now: ask for the last value only."""

    expr: str
    legend: str = ""
    now: bool = False
    format: str = "time_series"  # | table | heatmap
    exemplar: bool = False

    def json(self, place: int) -> Json:
        return {
            "datasource": SOURCE,
            "editorMode": "code",
            "exemplar": self.exemplar,
            "expr": self.expr,
            "format": self.format,
            "instant": self.now,
            "legendFormat": self.legend or "__auto",
            "range": not self.now,
            "refId": "ABCDEFGHIJKLMNOP"[place],
        }


@dataclass(frozen=True, slots=True)
class Search:
    """For traces, in TraceQL."""

    query: str
    limit: int = 20

    def json(self, place: int) -> Json:
        return {
            "datasource": TRACES,
            "filters": [],
            "limit": self.limit,
            "query": self.query,
            "queryType": "traceql",
            "refId": "ABCDEFGHIJKLMNOP"[place],
            "tableType": "traces",
        }


@dataclass(frozen=True, slots=True)
class Panel:
    kind: str
    title: str
    description: str
    targets: tuple[Target | Search, ...]
    field: Field
    options: Mapping[str, Any]
    w: int
    h: int
    custom: Mapping[str, Any]
    overrides: tuple[Override, ...] = ()
    transformations: tuple[Json, ...] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        return {
            "datasource": TRACES if any(isinstance(target, Search) for target in self.targets) else SOURCE,
            "description": self.description,
            "fieldConfig": {
                "defaults": self.field.json(self.custom),
                "overrides": [override.json() for override in self.overrides],
            },
            "gridPos": {"h": self.h, "w": self.w, "x": x, "y": y},
            "id": number,
            "links": [],
            "options": dict(self.options),
            "targets": [target.json(place) for place, target in enumerate(self.targets)],
            "title": self.title,
            "transformations": list(self.transformations),
            "type": self.kind,
        }


def stat(
    title: str,
    about: str,
    targets: Sequence[Target],
    field: Field,
    *,
    w: int = 3,
    h: int = 4,
    text: str = "auto",
    overrides: Sequence[Override] = (),
) -> Panel:
    """A number in large print, coloured by its thresholds. text: `name` shows the series' name in its place."""
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": REDUCED,
        "textMode": text,
        "wideLayout": False,
    }
    colored = replace(field, by_threshold=True)
    return Panel("stat", title, about, tuple(targets), colored, options, w, h, {}, tuple(overrides))


def lines(
    title: str,
    about: str,
    targets: Sequence[Target],
    field: Field,
    *,
    w: int = 8,
    h: int = 8,
    stacked: bool = False,
    stepped: bool = False,
    limits: bool = False,
    scale: str = "linear",
    overrides: Sequence[Override] = (),
) -> Panel:
    """Values over time. limits: draws the thresholds as lines. scale: `log` or `symlog` (logarithmic, but it has a zero)."""
    axis: Json = {"type": scale}
    if scale != "linear":
        axis |= {"log": 10} | ({"linearThreshold": 0.1} if scale == "symlog" else {})
    custom = {
        "drawStyle": "line",
        "fillOpacity": 50 if stacked else 6,
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "lineWidth": 1 if stacked else 2,
        "scaleDistribution": axis,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, about, tuple(targets), field, options, w, h, custom, tuple(overrides))


def timeline(
    title: str,
    about: str,
    targets: Sequence[Target],
    field: Field,
    *,
    w: int = 24,
    h: int = 8,
) -> Panel:
    """One bar per series, in the colours of what its numbers are called."""
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 75, "lineWidth": 0}
    return Panel("state-timeline", title, about, tuple(targets), replace(field, by_threshold=True), options, w, h, custom)


def heat(title: str, about: str, target: Target, field: Field, *, w: int = 12, h: int = 9, scheme: str = "Oranges") -> Panel:
    """Classic buckets over time: the target's series are named by their upper edge. The field's unit is that of the edges."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": False, "scheme": scheme, "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": field.unit},
    }
    custom = {"scaleDistribution": {"type": "linear"}}
    whole = replace(target, format="heatmap", legend="{{le}}")
    return Panel("heatmap", title, about, (whole,), field, options, w, h, custom)


def bars(title: str, about: str, targets: Sequence[Target], field: Field, *, w: int = 8, h: int = 8) -> Panel:
    """One horizontal bar per series, with its value now."""
    options = {
        "displayMode": "gradient",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": REDUCED,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    return Panel("bargauge", title, about, tuple(targets), replace(field, by_threshold=True), options, w, h, {})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. of: a label, or `A`, `B`, ... for the value of that query. field: None for a label. A sparkline is its query over time."""

    of: str
    title: str
    field: Field | None = None
    shown: str = "auto"  # | color-text | color-background | gauge | sparkline
    links: tuple[Json, ...] = ()

    @property
    def name(self) -> str:
        """As Grafana calls it after the queries were merged."""
        if self.shown == "sparkline":
            return "Trend"
        return f"Value #{self.of}" if self.field is not None else self.of

    def override(self) -> Override:
        cell = {"type": self.shown} | _CELLS.get(self.shown, {})
        properties: dict[str, Any] = {"custom.cellOptions": cell} if self.shown != "auto" else {}
        if self.field is not None:
            whole = replace(self.field, by_threshold=True).json({})
            kept = ("unit", "thresholds", "mappings", "color", "decimals", "min", "max")
            properties |= {name: whole[name] for name in kept if whole.get(name)}
        if self.links:
            properties["links"] = list(self.links)
        return Override(self.title, properties)


_CELLS: Mapping[str, Json] = {
    "gauge": {"mode": "basic", "valueDisplayMode": "text"},
    "sparkline": {"drawStyle": "line", "fillOpacity": 10, "hideValue": True, "lineWidth": 1, "showPoints": "never"},
}


def table(
    title: str,
    about: str,
    targets: Sequence[Target],
    columns: Sequence[Column],
    *,
    w: int = 24,
    h: int = 8,
    sort: tuple[str, bool] | None = None,
    hidden: Sequence[str] = (),
) -> Panel:
    """Queries for the last value, joined by the labels that they share. sort: title of a column, and whether it descends."""
    courses = {column.of for column in columns if column.shown == "sparkline"}
    asked = tuple(
        target if "ABCDEFGHIJKLMNOP"[place] in courses else replace(target, now=True, format="table")
        for place, target in enumerate(targets)
    )
    many = len(asked) > 1
    names = [column.name if many else column.name.partition(" #")[0] for column in columns]
    organize = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": {name: column.title for name, column in zip(names, columns, strict=True) if name != column.title},
    }
    transformations: list[Json] = [
        {  # only these: rows of one moment look like series of one point to it
            "filter": {"id": "byRefId", "options": of},
            "id": "timeSeriesTable",
            "options": {of: {"stat": "lastNotNull", "timeField": "Time"}},
        }
        for of in sorted(courses)
    ]
    transformations += [{"id": "merge", "options": {}}] if many else []
    transformations.append({"id": "organize", "options": organize})
    options: Json = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": [{"desc": sort[1], "displayName": sort[0]}] if sort else [],
    }
    overrides = tuple(override for column in columns if (override := column.override()).properties)
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel("table", title, about, asked, Field("string"), options, w, h, custom, overrides, tuple(transformations))


def traces(title: str, about: str, search: Search, *, w: int = 24, h: int = 8) -> Panel:
    """What a search found, the slowest first; a click on an id opens the trace."""
    options: Json = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": [{"desc": True, "displayName": "Duration"}],
    }
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel("table", title, about, (search,), Field("string"), options, w, h, custom)
