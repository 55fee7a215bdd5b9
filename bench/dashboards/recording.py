"""What Prometheus answered to every query of the dashboards, kept as JSON: the pictures are drawn from it, again and again, without another run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from grafana import generate, reading

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """name: as Grafana shows it. points: (seconds since 1970, value), one for a query for now."""

    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]
    ref: str

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel's JSON, and everything that is drawn in it. marks: (seconds since 1970, name). dots: (seconds since 1970, value) of exemplars."""

    panel: Json
    series: tuple[Series, ...]
    window: reading.Window
    marks: tuple[tuple[float, str], ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """answers: of each dashboard's uid, panel's number and query, as Prometheus gave them. marks: time and name of the annotations' events.
    dots: of each dashboard's uid and panel's number, time and value of its exemplars."""

    start: float
    end: float
    scrape_s: float
    answers: Mapping[str, Mapping[str, Mapping[str, list[Json]]]]
    marks: Mapping[str, list[tuple[float, str]]]
    dots: Mapping[str, Mapping[str, list[tuple[float, float]]]]

    @property
    def window(self) -> reading.Window:
        return reading.Window(self.start, self.end, scrape_s=self.scrape_s)

    def shown(self, uid: str, panel: Json) -> Shown:
        marks = tuple((float(at), str(name)) for at, name in self.marks[uid])
        dots = tuple((float(at), float(value)) for at, value in self.dots[uid].get(str(panel["id"]), ()))
        return Shown(panel, tuple(self._series(uid, panel)), self.window, marks, dots)

    def _series(self, uid: str, panel: Json) -> Iterator[Series]:
        of_panel = self.answers[uid].get(str(panel["id"]), {})
        for question in reading.questions(panel):
            for one in of_panel.get(question.ref, []):
                raw = one["values"] if "values" in one else [one["value"]]
                points = tuple((float(at), float(value)) for at, value in raw)
                yield Series(reading.shown(question.legend, one["metric"]), one["metric"], points, question.ref)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


def read(path: Path) -> Recording:
    whole = json.loads(path.read_text())
    return Recording(**whole)


def ask(prometheus: str, window: reading.Window, variables: Mapping[str, Mapping[str, str]]) -> Recording:
    """Everything that the dashboards would ask for, by variables per dashboard's uid. Raises httpx.HTTPError for a query that is refused."""
    answers: dict[str, dict[str, dict[str, list[Json]]]] = {}
    marks: dict[str, list[tuple[float, str]]] = {}
    dots: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with httpx.Client(base_url=f"{prometheus}/api/v1", timeout=30, trust_env=False) as http:

        def found(sent: str, *, now: bool) -> list[Json]:
            times = {"time": window.end} if now else {"start": window.start, "end": window.end, "step": window.step_s}
            answer = http.post("query" if now else "query_range", data={"query": sent, **times})
            answer.raise_for_status()
            return list(answer.json()["data"]["result"])

        def dotted(sent: str) -> list[tuple[float, float]]:
            answer = http.post(
                "query_exemplars", data={"query": sent, "start": window.start, "end": window.end}
            ).raise_for_status()
            each = (one for series in answer.json()["data"] for one in series["exemplars"])
            return [(float(one["timestamp"]), float(one["value"])) for one in each]

        for one in generate.DASHBOARDS:
            made, chosen = one.json(), variables[one.uid]
            answers[one.uid] = {
                str(panel["id"]): {
                    asked.ref: found(asked.sent(window, chosen), now=asked.now) for asked in reading.questions(panel)
                }
                for panel in reading.panels(made)
            }
            dots[one.uid] = {
                str(panel["id"]): [
                    dot for asked in reading.questions(panel) if asked.exemplar for dot in dotted(asked.sent(window, chosen))
                ]
                for panel in reading.panels(made)
            }
            times: set[tuple[float, str]] = set()
            for mark in made["annotations"]["list"]:
                if "expr" in mark:
                    sent = reading.filled(mark["expr"], window.macros() | dict(chosen))
                    times |= {(float(v) / 1000, mark["name"]) for each in found(sent, now=False) for _, v in each["values"]}
            marks[one.uid] = sorted(time for time in times if window.start <= time[0] <= window.end)
    return Recording(window.start, window.end, window.scrape_s, answers, marks, dots)
