"""The end of the last chapter: what is behind the alarm. A report in depth of the rows of summer, made by the control plane of what its replicas logged.

Its page is kept in MLflow among the artifacts of the version, and copied beside the demo's report, since the stack will be gone. Talks to the API as any
client does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cli import client
from cli.exits import Exit, Failure

from .story import MODEL

TITLE = "in depth: Evidently on the rows of summer"
PAGE = "drift-report.html"
POLL_S = 0.5
DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Page:
    """flagged: columns, by Evidently's own thresholds. path: of the copy. kept: below the artifacts of the version's run."""

    id: str
    rows: int
    flagged: tuple[str, ...]
    columns: int
    path: str
    kept: str

    @property
    def sentence(self) -> str:
        return f"Evidently flags {len(self.flagged)} of {self.columns} columns in {self.rows} logged rows: {', '.join(self.flagged) or 'none'}."


def look(api: client.Api, version: int, window: tuple[datetime, datetime], folder: Path, say: Callable[[str], None]) -> Page:
    """Waits until it is made. Raises Failure if none was."""
    base = ("models", MODEL, "versions", version, "drift", "reports")
    made = api.post(client.path(*base), {"start": window[0].isoformat(), "end": window[1].isoformat()})
    deadline = time.monotonic() + DEADLINE_S
    while made["state"] != "ended":
        if time.monotonic() > deadline:
            raise Failure(Exit.TIMEOUT, f"no drift report within {DEADLINE_S:g} s; it was {made['step'] or made['state']}")
        time.sleep(POLL_S)
        made = api.get(client.path(*base, made["id"]))
    if made["outcome"] != "done" or not made["html"]:
        raise Failure(Exit.NO_REPORT, f"the drift report ended as {made['outcome']}: {made['reason']}")
    path = folder / PAGE
    path.write_bytes(api.download(made["html"]))
    flagged = tuple(score["column"] for score in made["scores"] if score["drifted"])
    kept = f"drift/v{version}/{made['id']}/report.html"
    found = Page(made["id"], made["rows"], flagged, len(made["scores"]), str(path), kept)
    say(f"  {found.sentence}")
    return found
