"""One rollout as a tree: header, both sides with their traffic, findings with their evidence, holds, and what was asked.

Called by `status`, by the verbs (which show what they led to) and by the watch picture, which adds sparklines and events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cli import times

from . import strokes
from .sentences import unsaid

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Paper:
    """What can be drawn on."""

    width: int = 100
    ascii_only: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted lately. `error_rates` holds one number per reading and version, None where nothing was counted."""

    observed: Json | None = None
    error_rates: Mapping[int, Sequence[float | None]] | None = None


def tree(rollout: Json, now: datetime, paper: Paper, traffic: Traffic | None = None) -> Tree:
    """`traffic` is None when nobody asked for it."""
    picture = Tree(header(rollout, now, paper), guide_style="dim", highlight=False)
    if rollout["split"] or rollout["verdict"]:
        picture.add(_sides(rollout, paper, traffic or Traffic()))
        if traffic and traffic.observed and traffic.observed.get("reason"):
            picture.add(Text(f"traffic unknown: {traffic.observed['reason']}", "magenta"))
    for entry in _findings(rollout):
        # What decided is in the header already.
        picture.add(finding(entry, paper, sentence=entry["sentence"] not in rollout["reason"]))
    for entry in rollout["holds"]:
        picture.add(hold(entry, now, paper))
    told = {"pause"} if any(entry["reason"] == "paused" for entry in rollout["holds"]) else set()  # the hold says the same
    for verb, intent in rollout["requests"].items():
        if intent is not None and rollout["open"] and verb not in told:
            picture.add(_intent(verb, intent, now))
    return picture


def header(rollout: Json, now: datetime, paper: Paper) -> RenderableType:
    phase, arrow = rollout["phase"], "->" if paper.ascii_only else "→"
    dot = "," if paper.ascii_only else " ·"
    title = Text(no_wrap=False)
    title.append(f"{strokes.mark(phase, ascii_only=paper.ascii_only)} {words(phase)}", strokes.STYLES.get(phase, ""))
    title.append(f"  {rollout['model']} ", "bold")
    champion = rollout["champion"]
    title.append(f"v{champion} {arrow} " if champion is not None else f"first ship {arrow} ")
    title.append(f"v{rollout['version']}", "bold")
    title.append(f"  {rollout['strategy']}")
    if (step := rollout["step"]) and (phase == "progressing" or not rollout["open"]) and phase != "promoted":
        title.append(f", step {step['index']}{_of(step)}{dot} {step['weight_pct']} %")
    title.append(f"{dot} {_age(rollout, now)}", "dim")
    lines = [title, Text(f"rollout {rollout['id']} by {rollout['actor']}" + _note(rollout["note"]), "dim")]
    reason, message = rollout["reason"], rollout["message"]
    if reason and reason not in message:
        lines.append(Text(reason, strokes.STYLES.get(phase, "")))
    # Findings are drawn below with their sentences. What decided stays here: it may be all there is to say.
    said = unsaid(message, (entry["sentence"] for entry in _findings(rollout) if entry["sentence"] not in reason))
    if said and not (rollout["holds"] and said.startswith("Held: ")):
        lines.append(Text(said))
    return Group(*lines)


def _findings(rollout: Json) -> Sequence[Json]:
    found: Sequence[Json] = (rollout["verdict"] or {}).get("findings", ())
    return found


def line(rollout: Json) -> str:
    """The whole state in one line, for logs, with what the last pass did."""
    sentence = rollout["reason"] or rollout["message"]
    return f"{state(rollout)}; {sentence}" if sentence else state(rollout)


def state(rollout: Json) -> str:
    """The line without its sentence. The same state gives the same words, so that changes can be told from progress."""
    parts = [f"{rollout['model']} v{rollout['version']}", words(rollout["phase"])]
    if (step := rollout["step"]) and rollout["phase"] == "progressing":
        parts.append(f"step {step['index']}{_of(step)} ({step['weight_pct']} %)")
    if rollout["open"] and rollout["split"]:
        parts.append(f"split {split(rollout['split'])}")
    if verdict := rollout["verdict"]:
        parts.append(f"verdict {verdict['label']}")
    if rollout["holds"]:
        parts.append("held: " + ", ".join(hold["reason"] for hold in rollout["holds"]))
    return "; ".join(parts)


def split(weights: Sequence[Json]) -> str:
    return " ".join(f"v{weight['version']}={weight['weight_pct']}%" for weight in weights)


def words(term: str) -> str:
    return term.replace("_", " ")


def _note(note: str) -> str:
    return f": {note}" if note else ""


def _age(rollout: Json, now: datetime) -> str:
    created = times.moment(rollout["created_at"])
    if rollout["ended_at"] is None:
        return f"for {times.span((now - created).total_seconds())}"
    ended = times.moment(rollout["ended_at"])
    return f"{times.ago(ended, now)}, after {times.span((ended - created).total_seconds())}"


def _sides(rollout: Json, paper: Paper, traffic: Traffic) -> Table:
    """Champion above challenger, columns dropped from the right as the terminal narrows."""
    weights = {weight["version"]: weight["weight_pct"] for weight in rollout["split"] or ()}
    seen = {entry["version"]: entry for entry in (traffic.observed or {}).get("versions", ())}
    rates = traffic.error_rates or {}
    top = max((rate for series in rates.values() for rate in series if rate), default=0.0)
    window = times.span((traffic.observed or {}).get("window_s") or 0.0)
    judged = next(iter(_findings(rollout)), None)
    table = Table.grid(padding=(0, 2))
    for role in ("champion", "challenger"):
        version = rollout["champion"] if role == "champion" else rollout["version"]
        if version is None:
            continue
        cells = [Text(f"v{version} {role}", "bold" if role == "challenger" else "")]
        weight = weights.get(version, 0)
        if weights:
            cells.append(Text(f"{weight} %", justify="right"))
        if weights and paper.width >= 94:
            cells.append(Text(strokes.bar(weight / 100, 12, ascii_only=paper.ascii_only)))
        if rollout["open"] and version in seen and paper.width >= 60:
            cells.append(Text(f"{strokes.percent(seen[version]['share_pct'] / 100)} in {window}", "dim"))
        if judged is not None:
            cells.append(Text(_judged(judged[f"{role}_requests"], judged[f"{role}_errors"])))
        if paper.width >= 78 and (series := rates.get(version)):
            length = min(24, max(8, paper.width - 86))
            cells.append(Text(strokes.spark(series, length, top, ascii_only=paper.ascii_only), "red" if any(series) else "dim"))
        table.add_row(*cells)
    return table


def _judged(requests: int, errors: int) -> str:
    if requests == 0:
        return "nothing judged yet"
    return f"{strokes.count(requests)} judged, {strokes.percent(errors / requests)} errors"


def finding(entry: Json, paper: Paper, *, sentence: bool) -> RenderableType:
    label = entry["label"]
    title = Text(
        f"{strokes.mark(label, ascii_only=paper.ascii_only)} {words(entry['guard'])} {label}", strokes.STYLES.get(label, "")
    )
    scales = Table.grid(padding=(0, 1))
    width = 20 if paper.width >= 60 else 10
    for what, have, need, style in (
        ("to roll back", entry["evidence"], entry["threshold"], "red"),
        ("to promote", entry["promotion_evidence"], entry["promotion_threshold"], "green"),
    ):
        share = have / need if need > 0 else 0.0
        bar = Text(strokes.bar(share, width, ascii_only=paper.ascii_only), style)
        scales.add_row(Text(f"evidence {what}", "dim"), bar, Text(f"{have:.2f} of {need:.2f}"))
    return Group(title, *([Text(entry["sentence"])] if sentence else []), scales)


def hold(entry: Json, now: datetime, paper: Paper) -> Text:
    mark = "||" if paper.ascii_only else "⏸"
    text = Text(f"{mark} held: {words(entry['reason'])}", "bold yellow")
    text.append(f", {times.ago(times.moment(entry['since']), now)}", "dim")
    if entry["detail"]:
        text.append(f": {entry['detail']}", "not bold")
    return text


def _intent(verb: str, intent: Json, now: datetime) -> Text:
    reason = f": {intent['reason']}" if intent["reason"] else ""
    return Text(f"{verb} asked by {intent['actor']}, {times.ago(times.moment(intent['at']), now)}{reason}", "dim")


def _of(step: Json) -> str:
    """How many steps there are; a ramp does not know."""
    return f" of {step['count']}" if step["count"] else ""
