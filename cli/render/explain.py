"""Why a rollout is where it is, as `explain` shows it: the control plane's sentences, the evidence, the rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import times

from . import rollout as pictures
from . import strokes
from .rollout import Json, Paper


def picture(explanation: Json, now: datetime, paper: Paper) -> RenderableType:
    phase = explanation["phase"]
    mark = strokes.mark(phase, ascii_only=paper.ascii_only)
    title = Text(f"{mark} {pictures.words(phase)}", strokes.STYLES.get(phase, ""))
    title.append(f"  {explanation['model']}  rollout {explanation['rollout']}", "not bold default")
    parts: list[RenderableType] = [title, Text(), *(Text(sentence) for sentence in _once(explanation["sentences"]))]
    for finding in (explanation["verdict"] or {}).get("findings", ()):
        parts += [Text(), pictures.finding(finding, paper, sentence=False)]
    for hold in explanation["holds"]:
        parts.append(pictures.hold(hold, now, paper))
    parts += [Text(), Text("Rules", "bold"), _rules(explanation["policy"])]
    return Group(*parts)


def _once(sentences: Sequence[str]) -> list[str]:
    """Without those that an earlier one says already: the reason of a decision is often a finding's sentence."""
    return [
        sentence for place, sentence in enumerate(sentences) if not any(sentence in earlier for earlier in sentences[:place])
    ]


def _rules(policy: Json) -> Table:
    table = Table.grid(padding=(0, 2))
    guard = policy["error_rate"]
    table.add_row(
        "alpha",
        f"{policy['alpha']:g}",
        "chance of rolling back a version that is no worse than tolerated, over the whole rollout",
    )
    table.add_row("beta", f"{policy['beta']:g}", "chance of promoting a version beyond the margin")
    table.add_row(
        "tolerated", f"x{guard['tolerance_ratio']:g} or +{guard['tolerance_pct']:g} points", "errors against the champion's"
    )
    table.add_row("too bad", f"x{guard['margin_ratio']:g} and +{guard['margin_pct']:g} points", "never promoted beyond this")
    for word, what in (("insufficient", "without enough evidence"), ("blind", "without readable counts")):
        deadline = times.span(policy[f"{word}_deadline_s"])
        table.add_row(f"on {word}", pictures.words(policy[f"on_{word}"]), f"{what} for {deadline}")
    return table
