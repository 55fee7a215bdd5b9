"""Small drawings in one line of text: bars, sparklines, and the marks and colours that go with the words of the product.

Called by the other pictures. Colour only repeats what a word already says.
"""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-=+*%#"

STYLES = {
    "queued": "dim",
    "starting": "cyan",
    "progressing": "cyan",
    "promoting": "cyan",
    "probation": "green",
    "promoted": "bold green",
    "rolling_back": "bold red",
    "rolled_back": "bold red",
    "failed": "bold red",
    "pass": "green",
    "fail": "bold red",
    "insufficient": "yellow",
    "blind": "magenta",
}

_MARKS = {
    "promoted": ("✔", "+"),
    "probation": ("✔", "+"),
    "pass": ("✔", "+"),
    "rolling_back": ("✖", "x"),
    "rolled_back": ("✖", "x"),
    "failed": ("✖", "x"),
    "fail": ("✖", "x"),
    "queued": ("○", "o"),
    "insufficient": ("◌", "?"),
    "blind": ("⊘", "!"),
}


def mark(word: str, *, ascii_only: bool) -> str:
    unicode_mark, plain = _MARKS.get(word, ("●", "*"))
    return plain if ascii_only else unicode_mark


def bar(share: float, width: int, *, ascii_only: bool) -> str:
    """A filled part of `width`; anything above nothing shows at least one cell, anything below all leaves one."""
    filled = round(min(1.0, max(0.0, share)) * width)
    if 0.0 < share < 1.0:
        filled = min(width - 1, max(1, filled))
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    return full * filled + empty * (width - filled)


def spark(values: Sequence[float | None], width: int, top: float, *, ascii_only: bool) -> str:
    """The last `width` values as heights between 0 and `top`; None (nothing measured) is a gap. The same `top` for two lines
    makes them comparable. Nothing is flat at the bottom only if it is zero."""
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    line = ""
    for value in list(values)[-width:]:
        if value is None:
            line += " "
        elif value <= 0 or top <= 0:
            line += blocks[0]
        else:
            line += blocks[max(1, min(len(blocks) - 1, round(value / top * (len(blocks) - 1))))]
    return line.rjust(width)


def percent(share: float) -> str:
    """Of 1: as many digits as tell something: 0 %, 0.04 %, 1.3 %, 47 %."""
    points = share * 100
    if points == 0 or points >= 9.95:
        return f"{points:.0f} %"
    return f"{points:.1f} %" if points >= 0.095 else f"{points:.2f} %"


def count(number: int) -> str:
    """As the judge's sentences write it: 8120 -> "8 120"."""
    return f"{number:,}".replace(",", " ")
