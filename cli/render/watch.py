"""The live picture of `watch`: a rollout's tree with sparklines, the last events, and whether the connection holds.

`Scene` gathers what arrives; `picture` draws it. Fed by the watch command; pure.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import times

from . import rollout as rollouts
from .rollout import Json, Paper
from .sentences import unsaid

READINGS = 60  # how much of the past a sparkline can show
EVENTS = 6


class Scene:
    """What is known of a watched rollout. Only ever grows newer: an old revision arriving late is dropped."""

    def __init__(self, rollout: Json) -> None:
        self.rollout = rollout
        self.observed: Json | None = None
        self.error_rates: dict[int, deque[float | None]] = {}
        self.events: deque[Json] = deque(maxlen=EVENTS)
        self.ended = False  # everything was told
        self.away = ""  # why nothing arrives right now
        self.away_since = 0.0

    @property
    def over(self) -> bool:
        """Nothing more will come. A control plane that goes away after the end leaves nothing to wait for."""
        return self.ended or bool(self.away and not self.rollout["open"])

    def saw(self, kind: str, data: Json) -> bool:
        """One message of the stream. False if it was known already: after a reconnect the server repeats itself."""
        if kind == "error":
            self.lost(data["detail"], self.away_since)
            return True
        self.away = ""
        if kind == "end":
            self.ended = True
        elif kind == "state":
            if data["revision"] < self.rollout["revision"]:
                return False
            self.rollout = data
        elif kind == "event":
            if self.events and data["seq"] <= self.events[-1]["seq"]:
                return False
            self.events.append(data)
        return True

    def lost(self, why: str, at: float) -> None:
        """The connection broke. `at` counts seconds; the first break of a row is kept."""
        if not self.away:
            self.away_since = at
        self.away = why

    def saw_traffic(self, observed: Json) -> None:
        self.observed = observed
        counted = {entry["version"]: entry for entry in observed["versions"]}
        for version in (self.rollout["champion"], self.rollout["version"]):
            if version is None:
                continue
            entry = counted.get(version)
            rate = entry["errors"] / entry["requests"] if entry and entry["requests"] else None
            self.error_rates.setdefault(version, deque(maxlen=READINGS)).append(rate)


def picture(scene: Scene, now: datetime, paper: Paper) -> RenderableType:
    traffic = rollouts.Traffic(scene.observed, {version: tuple(rates) for version, rates in scene.error_rates.items()})
    parts: list[RenderableType] = [rollouts.tree(scene.rollout, now, paper, traffic)]
    if scene.events:
        parts += [Text(), _events(scene, now)]
    if scene.away:
        parts += [Text(), Text(f"connection lost, trying again: {scene.away}", "bold magenta")]
    elif scene.rollout["open"]:
        parts += [Text(), Text("Ctrl-C stops watching; the rollout goes on.", "dim")]
    return Group(*parts)


def _events(scene: Scene, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    said = [finding["sentence"] for finding in (scene.rollout["verdict"] or {}).get("findings", ())]
    said.append(scene.rollout["reason"])
    for event in scene.events:
        sentence = unsaid(event["sentence"], said) or "as above"
        table.add_row(times.ago(times.moment(event["at"]), now), event["kind"], Text(sentence))
        said.append(event["sentence"])
    return table
