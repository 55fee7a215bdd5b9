"""PURE. The other way round: a dashboard's JSON -> its panels and their queries, as Grafana would send them.

Read by the tests, which run every query, and by `bench/draw_dashboards.py`, which draws them. Works on any classic dashboard, whoever made it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .fields import Json

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::\w+)?\}|([A-Za-z_]\w*))")  # `$1` is a group in `label_replace`


@dataclass(frozen=True, slots=True)
class Question:
    """One query of a panel. expr: as it is written, with Grafana's variables. exemplar: its exemplars are shown as dots."""

    expr: str
    legend: str
    now: bool
    format: str
    ref: str
    exemplar: bool

    def sent(self, window: Window, variables: Mapping[str, str]) -> str:
        return filled(self.expr, window.macros() | dict(variables))


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at. Times in seconds since 1970. scrape_s: the data source's `timeInterval`."""

    start: float
    end: float
    points: int = 300
    scrape_s: float = 5.0

    @property
    def step_s(self) -> float:
        """Between two points; Grafana asks for none closer than the scrapes are."""
        return max(self.scrape_s, (self.end - self.start) / self.points)

    def macros(self) -> dict[str, str]:
        every, step = self.end - self.start, self.step_s
        rate = max(step + self.scrape_s, 4 * self.scrape_s)
        return {
            "__range": f"{round(every)}s",
            "__range_s": f"{round(every)}",
            "__range_ms": f"{round(every * 1000)}",
            "__interval": f"{round(step * 1000)}ms",
            "__interval_ms": f"{round(step * 1000)}",
            "__rate_interval": f"{round(rate * 1000)}ms",
        }


def filled(text: str, values: Mapping[str, str]) -> str:
    """Variables are `$name`, `${name}` or `${name:format}`. Raises KeyError for one that has no value."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


def variables(text: str) -> set[str]:
    return {found[1] or found[2] for found in _VARIABLE.finditer(text)}


def panels(dashboard: Json) -> Iterator[Json]:
    """All but the headings, those in folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def questions(panel: Json) -> Sequence[Question]:
    """Those that Prometheus is asked."""
    if panel["datasource"]["type"] != "prometheus":
        return []
    return [
        Question(
            expr=target["expr"],
            legend=target["legendFormat"],
            now=target["instant"],
            format=target["format"],
            ref=target["refId"],
            exemplar=target.get("exemplar", False),
        )
        for target in panel.get("targets", [])
    ]


def shown(legend: str, labels: Mapping[str, str]) -> str:
    """The name of a series: labels in double braces are replaced; without a legend it is all of them."""
    if legend == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__") or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend)
