"""Every query of every dashboard, asked of the real Prometheus while the real system ships one version and takes another one back.

One stack and one story for all tests: a first version, a canary that is held for a while and then promoted, and one that breaks and is taken
off; a third one is held while the questions are asked. Then each panel must have something to show, and each mark must stand where the history says.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from grafana import generate, queries, reading, rollouts, serving
from monitoring import names, server
from registry import profile
from tests import toy
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from tests.system import System

Eventually = Callable[..., Any]

WATCHED = True  # the system has a Prometheus in it
SETTINGS = {"SLIPWAY_DRIFT_EVERY_S": "2", "SLIPWAY_DRIFT_WINDOW_ROWS": "300"}
MODEL = toy.MODEL
FIRST, BETTER, BROKEN = 1, 2, 3
BODIES = [json.dumps({"dataframe_records": [{"x": float(x)}]}).encode() for x in range(1, 6)]
BREAKS = toy.CODE.replace(
    "        return", '        if (data["x"] > 4).any():\n            raise ValueError("too much")\n        return'
)
LEARNED = np.random.default_rng(1).integers(1, 6, 5000).astype(float)
PROFILE = profile.build({"x": LEARNED}, LEARNED * 2, importance={"x": 1.0})
FILES = {**toy.files(), "slipway/profile.json": json.dumps(PROFILE.to_json()).encode()}
# A test has seconds, not days: steps and margins that some hundred requests can decide.
CANARY: dict[str, Any] = {
    "steps": [
        {"weight_pct": 20, "requests": 10},
        {"weight_pct": 50, "requests": 20, "min_s": 6},
        100,
    ],  # steps that a scrape sees
    "policy": {
        "error_rate": {"margin_pct": 10.0, "tolerance_pct": 1.0},
        "latency": {"tolerance_ms": 50.0, "margin_ms": 200.0, "quantiles_pct": [50.0, 90.0]},  # two busy cores stutter
    },
}
SCRAPE_S = 5.0
PAUSED_S = 2 * SCRAPE_S

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Story:
    """What happened, as the history has it, and the time in which it did (seconds since 1970)."""

    system: System
    start: float
    end: float
    rollouts: tuple[str, ...]

    @property
    def window(self) -> reading.Window:
        return reading.Window(self.start, self.end, scrape_s=SCRAPE_S)

    def get(self, path: str, **params: str | float) -> Any:
        return Prometheus(self.system).get(path, **params)

    def ask(self, question: reading.Question) -> list[dict[str, Any]]:
        sent = question.sent(self.window, {"model": MODEL})
        if question.now:
            return [*self.get("query", query=sent, time=self.end)["result"]]
        return self.over_time(sent)

    def over_time(self, sent: str) -> list[dict[str, Any]]:
        found = self.get("query_range", query=sent, start=self.start, end=self.end, step=self.window.step_s)
        return [*found["result"]]


def values(series: dict[str, Any]) -> list[float]:
    points = series["values"] if "values" in series else [series["value"]]
    return [number for _, text in points if not math.isnan(number := float(text))]


def _now() -> float:
    return time.time()  # noqa: TID251  Prometheus' own clock


@pytest.fixture(scope="module")
def story(system: System, eventually: Eventually) -> Iterator[Story]:
    start = _now()
    broken = {**FILES, "code/toy.py": BREAKS.encode()}
    assert [system.register(MODEL, files) for files in (FILES, FILES, broken)] == [FIRST, BETTER, BROKEN]
    first = system.start(MODEL, FIRST, probation_s=0)
    system.phase(first, "promoted")
    with system.clients(MODEL, BODIES, rate=80.0):
        better = system.start(MODEL, BETTER, probation_s=0, **CANARY)
        hold(system, better)
        time.sleep(PAUSED_S)
        assert system.ask(better, "resume", "go on").status_code == 202
        system.phase(better, "promoted")
        broken_off = system.start(MODEL, BROKEN, **CANARY)
        system.phase(broken_off, "rolled_back")
        back = system.start(MODEL, FIRST, **{**CANARY, "policy": {**CANARY["policy"], "prediction_shift": {}}})
        hold(system, back)
        here = Story(system, start, _now(), ())
        # A new replica is found within a scrape, and has a rate after two more.
        rate = f'rate({names.SERVER_DURATION.name}_count{{model_version="{FIRST}"}}[{4 * SCRAPE_S:g}s]) > 0'
        eventually(lambda: here.get("query", query=rate)["result"], 40)
        eventually(lambda: here.get("query", query=f"{queries.BURN}30d")["result"], 90)  # evaluated once a minute
        eventually(lambda: here.get("query", query=f'{names.DRIFT_BEYOND.name}{{model_version="{BETTER}"}}')["result"], 60)
        shift = f'{names.FINDING_LABEL.name}{{guard="prediction_shift",model_version="{FIRST}"}}'
        eventually(lambda: here.get("query", query=shift)["result"], 30)
        told = (first, better, broken_off, back)
        eventually(lambda: _all_scraped(Story(system, start, _now(), told)), 60)
        time.sleep(SCRAPE_S)  # a range ends with its last whole step
        yield Story(system, start, _now(), told)


def _all_scraped(story: Story) -> bool:
    """The last start is drawn too: it was scraped, and a step of the range lies behind it."""
    dashboard = json.loads(generate.path(rollouts.DASHBOARD).read_text())
    (deploy,) = [mark for mark in dashboard["annotations"]["list"] if mark["name"] == "Deploy"]
    return len(_events(story, deploy)) >= len(story.rollouts)


def hold(system: System, rollout: str) -> None:
    system.phase(rollout, "progressing")
    assert system.ask(rollout, "pause", "let me look").status_code == 202
    system.held(rollout, "paused")


def _dashboards() -> list[Any]:
    return [pytest.param(json.loads(generate.path(one).read_text()), id=one.uid) for one in generate.DASHBOARDS]


each = pytest.mark.parametrize("dashboard", _dashboards())


@each
def test_every_query_has_an_answer(story: Story, dashboard: dict[str, Any]) -> None:
    empty = [
        f"{panel['title']} {question.ref}: {question.sent(story.window, {'model': MODEL})}"
        for panel in reading.panels(dashboard)
        for question in reading.questions(panel)
        if not any(values(series) for series in story.ask(question))
    ]
    assert not empty, "\n".join(empty)


@each
def test_series_of_a_panel_have_names_of_their_own(story: Story, dashboard: dict[str, Any]) -> None:
    """Two lines of one name cannot be told apart; and no name has a hole where a label is missing."""
    for panel in reading.panels(dashboard):
        if panel["type"] in ("table", "heatmap"):
            continue
        found = [
            reading.shown(question.legend, series["metric"])
            for question in reading.questions(panel)
            for series in story.ask(question)
        ]
        assert len(found) == len(set(found)), (panel["title"], found)
        assert all(name and name != "v" and not re.search(r"^ | $|  ", name) for name in found), (panel["title"], found)


@each
def test_every_metric_is_told_by_the_running_system(story: Story, dashboard: dict[str, Any]) -> None:
    """That nothing else is named is checked in tests/unit/grafana. What there is nothing to say of just now has its name in /metrics all the same."""
    known = {sample for metric in (*names.OURS, *names.ENVOY) for sample in metric.samples} | set(queries.FOREIGN)
    for file in server.RULES.glob("*.yml"):
        known |= {
            rule["record"]
            for group in yaml.safe_load(file.read_text())["groups"]
            for rule in group["rules"]
            if "record" in rule
        }
    text = json.dumps(dashboard)
    used = {name for name in known if re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", text)}
    assert len(used) > 10
    families = set(story.get("metadata"))
    told = set(story.get("label/__name__/values")) | families | {f"{name}_total" for name in families}
    assert used - told - {queries.ALERTS, queries.ALERTS_SINCE} == set(), "those two are there once an alert fires"


@each
def test_marks_stand_where_the_history_says(story: Story, dashboard: dict[str, Any]) -> None:
    marks = {mark["name"]: mark for mark in dashboard["annotations"]["list"] if "expr" in mark}
    assert set(marks) == {"Deploy", "Step", "Promote", "Rollback", "Alert"}
    found = {name: _events(story, mark) for name, mark in marks.items()}
    history = [event for rollout in story.rollouts for event in story.system.events(rollout)]

    def told(kind: str, *, phase: str | None = None) -> list[float]:
        chosen = [event for event in history if event["kind"] == kind and phase in (None, event["data"].get("phase"))]
        return [round(datetime.fromisoformat(event["at"]).timestamp(), 3) for event in chosen]

    assert sorted(found["Deploy"]) == told("phase", phase="starting")
    assert set(told("ended", phase="promoted")) <= set(found["Promote"])
    assert set(told("ended", phase="rolled_back")) <= set(found["Rollback"])
    for at in told("step"):
        assert any(at <= mark < at + SCRAPE_S for mark in found["Step"]), (
            "a step is marked when the gateways have acknowledged it"
        )
    assert min(found["Rollback"]) > max(told("ended", phase="promoted")), "and a promotion is no rollback"


def exemplars(story: Story, dashboard: Any) -> list[dict[str, str]]:
    """Labels of the dots in the one panel of a dashboard that shows some, under the names that Grafana is told."""
    made = json.loads(generate.path(dashboard).read_text())
    (dotted,) = [target for panel in reading.panels(made) for target in panel["targets"] if target.get("exemplar")]
    sent = reading.filled(dotted["expr"], story.window.macros() | {"model": MODEL})
    found = story.get("query_exemplars", query=sent, start=story.start, end=story.end)
    labels = [exemplar["labels"] for series in found for exemplar in series["exemplars"]]
    assert all(re.fullmatch(r"[0-9a-f]{32}", one["trace_id"]) for one in labels)
    return labels


def test_dots_lead_from_a_rollback_to_the_trace_of_its_pass_and_the_rollout(story: Story) -> None:
    assert {one["rollout"] for one in exemplars(story, rollouts.DASHBOARD)} == {story.rollouts[2]}


def test_dots_lead_from_the_heat_map_to_the_traces_of_requests(story: Story) -> None:
    traces = {one["trace_id"] for one in exemplars(story, serving.DASHBOARD)}
    assert traces, "of 1 % of the requests"
    for trace in traces:
        asked = {"trace_id": f"tr-{trace}"}
        answer = story.system.http.get(f"{story.system.mlflow}/api/3.0/mlflow/traces/get", params=asked).raise_for_status()
        spans = {span["name"]: span for span in answer.json()["trace"]["spans"]}
        about = {one["key"]: one["value"] for one in spans["predict"]["attributes"]}
        assert about["model"]["string_value"] == MODEL
        assert "inference" in spans


def test_answers_of_both_sides_reach_the_judge(story: Story, eventually: Eventually) -> None:
    """Counted by real replicas by the epoch that a real gateway told them, of the rollout whose policy asks."""
    (_, better, _, back) = story.rollouts

    def compared(rollout: str) -> list[int]:
        findings = story.system.rollout(rollout)["verdict"]["findings"]
        return [min(f["champion_requests"], f["challenger_requests"]) for f in findings if f["guard"] == "prediction_shift"]

    eventually(lambda: compared(back) and compared(back)[0] > 50, 60)
    assert compared(better) == []


def _events(story: Story, mark: dict[str, Any]) -> set[float]:
    """Times of the marks in seconds. Grafana takes the values for them, in milliseconds."""
    assert mark["useValueForTime"]
    series = story.over_time(reading.filled(mark["expr"], story.window.macros() | {"model": MODEL}))
    return {round(value / 1000, 3) for one in series for value in values(one)}


def test_the_variable_offers_the_model(story: Story) -> None:
    for one in generate.DASHBOARDS:
        for variable in one.variables:
            assert story.get(f"label/{variable.name}/values", **{"match[]": variable.metric}) == [MODEL]
