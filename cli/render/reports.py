"""Drift reports in depth as text: the list, and one with its checks and Evidently's scores against its thresholds."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from cli import times

from .listing import grid
from .rollout import Json, words
from .strokes import bar

WIDTH = 16  # cells of a bar, half of which is the threshold
NAMED = 2  # flagged columns in the list


def listing(found: Json, now: datetime) -> RenderableType:
    if not found["reports"]:
        return Text(f"Version {found['version']} of {found['model']} has no drift report.", "dim")
    table = grid("WHEN", "WHY", "END", "ROWS", "BROKEN", "FLAGGED", "ID")
    for report in found["reports"]:
        end = report["outcome"] or report["step"] or report["state"]
        table.add_row(
            times.ago(times.moment(report["at"]), now),
            report["trigger"],
            Text(words(end), "green" if end == "done" else "yellow"),
            str(report["rows"]),
            Text(", ".join(dict.fromkeys(check["column"] for check in report["checks"])), "bold red"),
            _few([score["column"] for score in report["scores"] if score["drifted"]]),
            report["id"],
        )
    return table


def one(report: Json, *, ascii_only: bool) -> RenderableType:
    parts: list[RenderableType] = [Text(f"{report['id']}: {words(report['outcome'])}, {report['rows']} rows", "bold")]
    if report["reason"]:
        parts.append(Text(report["reason"], "magenta"))
    parts += [Text(f"{check['kind']}: {check['sentence']}", "bold red") for check in report["checks"]]
    if report["scores"]:
        table = grid("COLUMN", "EVIDENTLY'S METHOD", "SCORE", "THRESHOLD", "")
        for score in sorted(report["scores"], key=lambda each: not each["drifted"]):
            share = score["score"] / score["threshold"] / 2 if score["threshold"] else 1.0
            drawn = Text(bar(share, WIDTH, ascii_only=ascii_only), "yellow" if score["drifted"] else "dim")
            table.add_row(score["column"], score["method"], f"{score['score']:.3g}", f"{score['threshold']:g}", drawn)
        parts += [table, Text(report["statement"], "dim")]
    return Group(*parts)


def page(report: Json, address: str) -> str:
    """Where its page is; address: of the API. To be printed as it is: an address that is wrapped cannot be clicked."""
    return f"the page: {address}{report['html']}"


def _few(columns: list[str]) -> str:
    more = f" +{len(columns) - NAMED}" if len(columns) > NAMED else ""
    return ", ".join(columns[:NAMED]) + more
