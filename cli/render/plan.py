"""What a rollout would need, as `plan` shows it: a table of steps, a total, or a refusal with its reason."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import times

from . import strokes
from .rollout import Json, Paper


def picture(plan: Json, paper: Paper) -> RenderableType:
    parts: list[RenderableType] = []
    if plan["steps"]:
        parts.append(_steps(plan))
    # The sentences of steps repeat the table; those about the whole do not.
    parts += [Text(sentence) for sentence in plan["sentences"] if not (plan["steps"] and sentence.startswith("Step "))]
    if plan["refusal"]:
        mark = strokes.mark("fail", ascii_only=paper.ascii_only)
        parts.append(Text(f"{mark} It cannot finish as it stands: {plan['refusal']}", "bold red"))
    if plan["open_rollout"]:
        parts.append(Text(f"rollout {plan['open_rollout']} is still open; this one could only start after it.", "yellow"))
    return Group(*parts)


def _steps(plan: Json) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("STEP", justify="right")
    table.add_column("WEIGHT", justify="right")
    table.add_column("REQUESTS", justify="right")
    table.add_column("TIME", justify="right", no_wrap=True)
    table.add_column("UNTIL")
    for step in plan["steps"]:
        table.add_row(
            str(step["index"]),
            f"{step['weight_pct']} %",
            strokes.count(step["requests"]),
            _minutes(step["minutes"]),
            step["why"],
        )
    if len(plan["steps"]) > 1:
        table.add_row("", "all", strokes.count(plan["total_requests"]), _minutes(plan["total_minutes"]), "", style="dim")
    return table


def _minutes(minutes: float | None) -> str:
    return "?" if minutes is None else times.span(minutes * 60)
