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
from .sentences import unsaid


def picture(explanation: Json, now: datetime, paper: Paper) -> RenderableType:
    phase = explanation["phase"]
    mark = strokes.mark(phase, ascii_only=paper.ascii_only)
    title = Text(f"{mark} {pictures.words(phase)}", strokes.STYLES.get(phase, ""))
    title.append(f"  {explanation['model']}  rollout {explanation['rollout']}", "not bold default")
    findings = (explanation["verdict"] or {}).get("findings", ())
    parts: list[RenderableType] = [title, Text(), *(Text(sentence) for sentence in _once(explanation["sentences"], findings))]
    for finding in findings:
        parts += [Text(), pictures.finding(finding, paper, sentence=True), *_ratio(finding)]
    if findings:
        parts.append(Text("Evidence in powers of ten: 2 means 100 to 1; below 0 it speaks against.", "dim"))
    for hold in explanation["holds"]:
        parts.append(pictures.hold(hold, now, paper))
    parts += [Text(), Text("Rules", "bold"), _rules(explanation["policy"])]
    return Group(*parts)


def _once(sentences: Sequence[str], findings: Sequence[Json]) -> list[str]:
    """Without what the title, a finding or an earlier sentence says: the reason of a decision is often a finding's sentence,
    and what the last pass did is often where the step is."""
    said = [finding["sentence"] for finding in findings]
    guards = tuple(f"{finding['guard']}: " for finding in findings)
    shown: list[str] = []
    for sentence in sentences:
        step = sentence.startswith("Step ") and any(earlier.startswith("Step ") for earlier in shown)
        left = "" if step or sentence.startswith(("Phase ", *guards)) else unsaid(sentence, said)
        said.append(sentence)
        shown += [left] if left else []
    return shown


def _ratio(finding: Json) -> list[Text]:
    """What the guard looks at, against the champion's, with what is known of it."""
    ratio, low, high = (finding["effect"][name] for name in ("ratio", "low", "high"))
    if ratio is None and not low:
        return []
    where = f"{low or 0.0:.2g} to {high:.2g}" if high is not None else f"at least {low or 0.0:.2g}"
    likely = "" if ratio is None else f"; likeliest {ratio:.2g}"
    if finding["guard"] == "error_rate":
        return [Text(f"It fails {where} times as often as the champion, with 95 % confidence{likely}.")]
    of = finding["effect"]["of"].replace("_", " ")
    return [Text(f"Its {of} is {where} times the champion's, with 95 % confidence{likely}.")]


def _rules(policy: Json) -> Table:
    table = Table.grid(padding=(0, 2))
    guard = policy["error_rate"]
    table.add_row(
        "alpha",
        f"{policy['alpha']:g}",
        "at most this chance of rolling back a tolerated version, however often one looks",
    )
    table.add_row("beta", f"{policy['beta']:g}", "at most this chance of promoting a version that is too bad")
    table.add_row(
        "tolerated", f"x{guard['tolerance_ratio']:g} or +{guard['tolerance_pct']:g} points", "errors against the champion's"
    )
    table.add_row("too bad", f"x{guard['margin_ratio']:g} and +{guard['margin_pct']:g} points", "never promoted beyond this")
    for word, what in (("insufficient", "without enough evidence"), ("blind", "without readable counts")):
        deadline = times.span(policy[f"{word}_deadline_s"])
        table.add_row(f"on {word}", pictures.words(policy[f"on_{word}"]), f"{what} for {deadline}")
    table.add_row("on drift", policy["on_drift"], "while the challenger's data raise an alarm")
    return table
