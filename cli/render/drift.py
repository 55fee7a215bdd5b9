"""A model's drift as tables: the verdict in a sentence, then its columns, the most telling first."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from cli import times

from .listing import grid
from .rollout import Json, words
from .strokes import percent

COLOURS = {"none": "green", "benign": "yellow", "harmful": "bold red", "broken_data": "bold red", "not_enough_data": "dim"}
SHOWN = 12  # columns without a finding are cut beyond it


def state(found: Json, now: datetime) -> RenderableType:
    if not found["versions"]:
        return Text(f"Nothing of {found['model']} is served.", "dim")
    parts: list[RenderableType] = []
    for version in found["versions"]:
        title = Text(f"{found['model']} v{version['version']}", "bold")
        title.append(" champion" if version["champion"] else "", "not bold")
        parts.append(title)
        if version["reason"]:
            parts.append(Text(f"unknown: {version['reason']}", "magenta"))
        if version["verdict"] is not None:
            parts += _verdict(version["verdict"], now)
        elif not version["reason"]:
            parts.append(Text("not looked at yet", "dim"))
        parts.append(Text())
    return Group(*parts[:-1])


def history(found: Json, now: datetime) -> RenderableType:
    if not found["entries"]:
        return Text(f"Version {found['version']} of {found['model']} was never judged for drift.", "dim")
    table = grid("WHEN", "VERDICT", "ROWS", "WHY")
    for entry in found["entries"]:
        judged = entry["verdict"]
        label = Text(words(judged["label"]), COLOURS[judged["label"]])
        rows = f"{judged['window']['rows']}"
        table.add_row(times.ago(times.moment(judged["at"]), now), label, rows, Text(judged["sentence"]))
    return table


def _verdict(judged: Json, now: datetime) -> list[RenderableType]:
    window = judged["window"]
    since = f", since {times.ago(times.moment(window['start']), now)}" if window["start"] else ""
    parts: list[RenderableType] = [
        Text.assemble((words(judged["label"]), COLOURS[judged["label"]]), f"  {window['rows']} rows{since}"),
        Text(judged["sentence"]),
    ]
    if judged["comparison"]:
        parts.append(Text(judged["comparison"]))
    if judged["findings"]:
        parts.append(_columns(judged))
    if (how := judged["calibrated"]) is not None:
        alarms, size = percent(how["false_alarms"]), how["windows"]
        parts.append(
            Text(
                f"Thresholds: {alarms} of windows without drift raise an alarm; the reference holds {size:.0f} windows.", "dim"
            )
        )
    if judged["clocks"]:
        parts.append(Text(f"Not compared, for they follow the time: {', '.join(judged['clocks'])}.", "dim"))
    if judged["left_out"]:
        parts.append(Text(f"Not counted: {', '.join(judged['left_out'])}.", "dim"))
    return parts


def _columns(judged: Json) -> RenderableType:
    """Score against threshold, and what it means: the rows that moved, the importance, nulls."""
    table = grid("COLUMN", "SCORE / THRESHOLD", "ROWS MOVED", "SHIFT", "IMPORTANCE", "NULL", "P", "")
    ordered = sorted(judged["findings"], key=lambda f: (not f["breaks"], not f["drifts"], not f["compared"], -f["ratio"]))
    for finding in ordered[:SHOWN]:
        marks = ", ".join(finding["breaks"]) or ("drifts" if finding["drifts"] else "" if finding["compared"] else "clock")
        table.add_row(
            finding["column"],
            f"{finding['ratio']:.2f}" if finding["compared"] else "",
            percent(finding["moved"]),
            f"{finding['shift']:+.1f} sd" if finding["shift"] else "",
            percent(finding["importance"]) if finding["importance"] else "",
            percent(finding["nulls"]) if finding["nulls"] else "",
            f"{finding['p']:.2g}" if finding["compared"] else "",
            Text(marks, "bold red" if finding["breaks"] else "yellow" if finding["drifts"] else "dim"),
        )
    return table
