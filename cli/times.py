"""Durations as people write them, and moments as people say them. Pure: `now` is an argument.

Called by the commands and the pictures. JSON output never passes through here: machines get UTC as the API gave it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class BadDuration(ValueError):
    """Not a duration."""


def parse_s(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `1h30m`, `2d`."""
    squeezed = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", squeezed):
        return float(squeezed)
    parts = _PART.findall(squeezed)
    if not parts or "".join(number + unit for number, unit in parts) != squeezed:
        raise BadDuration(f"{text!r} is not a duration: write 90s, 10m, 1h30m or 2d")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def moment(text: str) -> datetime:
    """An API time. Raises ValueError if it is none or has no zone."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return parsed.astimezone(UTC)


def span(seconds: float) -> str:
    """A length of time with the two units that matter: 4 s, 3 min 20 s, 2 h 5 min, 3 d."""
    if seconds < 0.0995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    if whole < 86400:
        return _two(whole // 60, 60, "h", "min")
    return _two(whole // 3600, 24, "d", "h")


def _two(smaller_units: int, per_bigger: int, bigger: str, smaller: str) -> str:
    big, small = divmod(smaller_units, per_bigger)
    return f"{big} {bigger} {small} {smaller}" if small else f"{big} {bigger}"


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in one unit: just now, 40 s ago, 3 min ago, 2 h ago, and the date once it is over a week."""
    seconds = (now - then).total_seconds()
    if seconds < -2:
        return f"in {span(-seconds)}"
    if seconds < 2:
        return "just now"
    for limit, per, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (7 * 86400, 86400, "d")):
        if seconds < limit:
            return f"{int(seconds // per)} {unit} ago"
    return then.strftime("%Y-%m-%d")
