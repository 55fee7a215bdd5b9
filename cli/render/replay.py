"""A rollout judged again, as `replay` shows it: the sentence, and the evidence as it grew."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from .rollout import Json, Paper

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"
COLUMNS = 60


def picture(answer: Json, paper: Paper) -> RenderableType:
    parts: list[RenderableType] = [Text(answer["sentence"])]
    looks = answer["looks"]
    if looks:
        bars = _ASCII_BARS if paper.ascii_only else _BARS
        guards = [guard["guard"] for guard in looks[-1]["guards"]]
        width = max(map(len, guards))
        parts.append(Text())
        for place, name in enumerate(guards):
            course = [look["guards"][place]["evidence"] for look in looks if len(look["guards"]) > place]
            last = looks[-1]["guards"][place]
            line = Text(f"{name:<{width}}  ")
            line.append(sparkline(course, last["threshold"], bars))
            line.append(f"  {last['evidence']:.2f} of {last['threshold']:.2f}  {last['label']}", "dim")
            parts.append(line)
        parts.append(
            Text("Evidence in powers of ten, from the first look to the last; full height is what rolls back alone.", "dim")
        )
    return Group(*parts)


def sparkline(values: Sequence[float], top: float, bars: str = _BARS) -> str:
    """At most COLUMNS bars; each shows the largest value of its part, from nothing (0 and below) to all of it (top and above)."""
    every = max(1, -(-len(values) // COLUMNS))
    highest: list[float] = [max(values[i : i + every]) for i in range(0, len(values), every)]
    return "".join(bars[_level(value, top, len(bars))] for value in highest)


def _level(value: float, top: float, levels: int) -> int:
    return max(0, min(levels - 1, int(value / top * (levels - 1)))) if top > 0 else 0
