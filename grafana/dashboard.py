"""PURE. Rows of panels -> a dashboard in Grafana's classic schema, with its variables, annotations and links.

The schema is the one that Grafana 10 to 13 load: 13 turns it into its newer one by itself. Nothing here depends on when or where it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .fields import Json
from .panels import SOURCE, Panel

SCHEMA = 41
WIDTH = 24
TAG = "slipway"


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and what is below it. folded: panels are loaded when somebody opens it."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice among the values of a label. many: several at once, and all."""

    name: str
    title: str
    about: str
    metric: str
    many: bool = False

    def json(self) -> Json:
        values = f"label_values({self.metric}, {self.name})"
        made: Json = {
            "current": {},
            "datasource": SOURCE,
            "description": self.about,
            "hide": 0,
            "includeAll": self.many,
            "label": self.title,
            "multi": self.many,
            "name": self.name,
            "options": [],
            "query": {"qryType": 1, "query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2,  # whenever the time range changes
            "regex": "",
            "sort": 1,
            "type": "query",
        }
        return made | ({"allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}} if self.many else {})


@dataclass(frozen=True, slots=True)
class Box:
    """Something that a person may write, in place of `value`."""

    name: str
    title: str
    about: str
    value: str

    def json(self) -> Json:
        current = {"text": self.value, "value": self.value}
        return {
            "current": current,
            "description": self.about,
            "hide": 0,
            "label": self.title,
            "name": self.name,
            "options": [current | {"selected": True}],
            "query": self.value,
            "type": "textbox",
        }


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on every panel. The query's values are the times of the events, in milliseconds."""

    name: str
    color: str
    expr: str
    title: str
    text: str
    tags: tuple[str, ...]

    def json(self) -> Json:
        return {
            "datasource": SOURCE,
            "enable": True,
            "expr": self.expr,
            "hide": False,
            "iconColor": self.color,
            "name": self.name,
            "step": "15s",
            "tagKeys": ",".join(self.tags),
            "textFormat": self.text,
            "titleFormat": self.title,
            "useValueForTime": True,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """uid: its address, named in alerts; at most 40 characters."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    since: str = "now-1h"
    boxes: tuple[Box, ...] = ()

    def json(self) -> Json:
        choices: tuple[Variable | Box, ...] = (*self.variables, *self.boxes)
        return {
            "annotations": {"list": [_BUILT_IN, *(one.json() for one in self.annotations)]},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [_LINKS],
            "panels": list(placed(self.rows)),
            "refresh": "10s",
            "schemaVersion": SCHEMA,
            "tags": [TAG],
            "templating": {"list": [_DATASOURCE, *(one.json() for one in choices)]},
            "time": {"from": self.since, "to": "now"},
            "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m", "15m"]},
            "timezone": "utc",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        }

    def text(self) -> str:
        return json.dumps(self.json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Panels from left to right, and below one another where a line is full. Numbers are given in reading order."""
    number, y = 0, 0
    for row in rows:
        number += 1
        heading = {
            "collapsed": row.folded,
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            "id": number,
            "panels": [],
            "title": row.title,
            "type": "row",
        }
        y += 1
        inside: list[Json] = []
        x = height = 0
        for panel in row.panels:
            if x + panel.w > WIDTH:
                x, y, height = 0, y + height, 0
            number += 1
            inside.append(panel.json(number, x, y))
            x, height = x + panel.w, max(height, panel.h)
        y += height
        yield heading | ({"panels": inside} if row.folded else {})
        if not row.folded:
            yield from inside


_BUILT_IN: Json = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}
_DATASOURCE: Json = {
    "current": {"text": "Prometheus", "value": "prometheus"},
    "description": "Where the numbers come from",
    "hide": 0,
    "includeAll": False,
    "label": "Data Source",
    "multi": False,
    "name": "datasource",
    "options": [],
    "query": "prometheus",
    "refresh": 1,
    "regex": "",
    "type": "datasource",
}
# From dashboard to dashboard, with the same time and the same model.
_LINKS: Json = {
    "asDropdown": False,
    "icon": "external link",
    "includeVars": True,
    "keepTime": True,
    "tags": [TAG],
    "targetBlank": False,
    "title": "slipway",
    "tooltip": "",
    "type": "dashboards",
    "url": "",
}
