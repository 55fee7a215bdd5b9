"""The last chapter: nothing is released, but summer arrives. What the control plane says of the champion's data, and why.

Talks to the API as any client does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli import client
from cli.exits import Exit, Failure

from .story import MODEL

ARRIVES = "2013-06-24"
TITLE = "summer arrives: the model learned from January to March"
CAUSE = "temp"  # what has to be named
ROWS = 10  # flights in a request, or a window would take a minute
WINDOW_ROWS = 5000  # some days of flights: two days of weather may be like no others, and nothing is wrong
EVERY_S = 2.0
DEADLINE_S = 90.0
# Of the control plane: sooner and more often than one would look in earnest.
ENVIRONMENT = {"SLIPWAY_DRIFT_EVERY_S": f"{EVERY_S:g}", "SLIPWAY_DRIFT_WINDOW_ROWS": str(WINDOW_ROWS)}


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of the champion. before: the verdict on spring. alarm_s: from the first flight of summer to the alarm."""

    version: int
    before: str
    label: str
    sentence: str
    columns: tuple[str, ...]
    alarm_s: float


def verdict(api: client.Api, version: int) -> dict[str, Any] | None:
    """The newest one on a version in service; None: not judged yet."""
    found = api.get(client.path("models", MODEL, "drift"))["versions"]
    return next((state["verdict"] for state in found if state["version"] == version), None)


def tell(ask: Callable[[], dict[str, Any] | None], version: int, say: Callable[[str], None], begin: datetime) -> Told:
    """Waits until a window that summer fills is told apart from winter. Raises Failure if there is none in time. ask: for the newest `verdict`. begin: the first
    flight of summer."""
    before = ask()
    told, spring, now = "", before["label"] if before else "not judged", before
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        now = ask()
        if now is not None and now["window"]["start"] is not None:
            all_summer = datetime.fromisoformat(now["window"]["start"]) >= begin
            if now["label"] != told:
                told = now["label"]
                say(f"  {now['sentence']}")
            if all_summer and CAUSE in now["columns"]:
                alarm_s = round((datetime.fromisoformat(now["at"]) - begin).total_seconds(), 1)
                return Told(version, spring, now["label"], now["sentence"], tuple(now["columns"]), alarm_s)
        time.sleep(EVERY_S / 2.0)
    last = "nothing" if now is None else now["sentence"]
    raise Failure(Exit.TIMEOUT, f"summer filled no window within {DEADLINE_S:g} s, or {CAUSE} was not named; said was: {last}")
