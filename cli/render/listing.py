"""Tables of many: rollouts, and the events of a history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli import times

from . import rollout as pictures
from . import strokes
from .rollout import Json, Paper
from .sentences import unsaid


def rollouts(found: Sequence[Json], now: datetime, paper: Paper) -> RenderableType:
    if not found:
        return Text("No rollout is open. Start one with `slipway start MODEL VERSION`.")
    table = grid("ROLLOUT", "MODEL", "VERSION", "PHASE", "STEP", "SINCE", "HELD")
    for rollout in found:
        table.add_row(
            rollout["id"],
            Text(rollout["model"]),
            f"v{rollout['version']}",
            phase(rollout["phase"], paper),
            _step(rollout["step"]),
            times.ago(times.moment(rollout["created_at"]), now),
            Text(", ".join(pictures.words(hold["reason"]) for hold in rollout["holds"]), "bold yellow"),
        )
    return table


def phase(word: str, paper: Paper) -> Text:
    mark = strokes.mark(word, ascii_only=paper.ascii_only)
    return Text(f"{mark} {pictures.words(word)}", strokes.STYLES.get(word, ""))


def events(found: Sequence[Json], now: datetime, paper: Paper) -> RenderableType:
    if not found:
        return Text("Nothing has happened yet.")
    several = len({event["rollout_id"] for event in found}) > 1
    table = grid("WHEN", *(["ROLLOUT"] if several else []), "WHO", "KIND", "WHAT")
    said: dict[str, list[str]] = {}
    for event in found:
        earlier = said.setdefault(event["rollout_id"], [])
        sentence = unsaid(event["sentence"], earlier) or event["sentence"]
        earlier.append(event["sentence"])
        when = times.ago(times.moment(event["at"]), now) if paper.width < 100 else _when(event["at"], now)
        table.add_row(when, *([event["rollout_id"]] if several else []), Text(event["actor"]), event["kind"], Text(sentence))
    return table


def grid(*columns: str) -> Table:
    """Plain columns: they can be selected, cut and grepped."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        folds = column in ("WHAT", "HELD", "NOTE")
        table.add_column(column, no_wrap=not folds, overflow="fold" if folds else "ellipsis")
    return table


def _when(text: str, now: datetime) -> str:
    """For wide terminals: the local time to the second, and how long ago."""
    moment = times.moment(text)
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}, {times.ago(moment, now)}"


def _step(step: Json | None) -> str:
    return f"{step['index']}/{step['count'] or 'auto'} at {step['weight_pct']} %" if step else ""
