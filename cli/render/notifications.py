"""Tables of notifications: who is told, and what could not be delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from cli import times

from .listing import grid
from .rollout import Json


def picture(receivers: Sequence[Json], dead: Sequence[Json], now: datetime) -> RenderableType:
    if not receivers:
        return Text("Nobody is told of rollouts: set SLIPWAY_NOTIFY_FILE for the control plane.")
    told = grid("RECEIVER", "WHERE", "WAITING", "DEAD", "LAST")
    for one in receivers:
        where = f"{one['format']} {one['address']}" if one["format"] else "not configured any more"
        lost = Text(str(one["dead"]), "bold red" if one["dead"] else "")
        told.add_row(one["name"], Text(where), str(one["waiting"]), lost, Text(_last(one["last"], now)))
    if not dead:
        return told
    return Group(
        told, Text("\nDead letters; `slipway resend ID` or `slipway resend all` sends them again:"), _letters(dead, now)
    )


def _letters(dead: Sequence[Json], now: datetime) -> RenderableType:
    table = grid("ID", "RECEIVER", "WHEN", "WHAT", "NOTE")
    for one in dead:
        when = times.ago(times.moment(one["at"]), now)
        why = f"{one['error']} (attempt {one['attempts']})"
        table.add_row(str(one["id"]), one["receiver"], when, Text(f"{one['model']}: {one['sentence']}"), Text(why))
    return table


def _last(last: Json | None, now: datetime) -> str:
    if last is None:
        return ""
    return f"{times.ago(times.moment(last['at']), now)}: {'delivered' if last['delivered'] else last['words']}"
