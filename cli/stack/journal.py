"""What the launcher did, as JSON lines beside the logs of its children: a part that died at night is told of in the morning.

Owned by `Stack`. A disk that is full or read-only stops no part from being started again.
"""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

from monitoring.jsonlines import JsonLines

from .supervisor import Change

SERVICE = "slipway-launcher"
BYTES = 5 * 1024 * 1024


class Journal:
    """May be written to from any thread. The file is opened with the first line."""

    def __init__(self, file: Path) -> None:
        self._handler = logging.handlers.RotatingFileHandler(file, maxBytes=BYTES, backupCount=1, encoding="utf-8", delay=True)
        self._handler.setFormatter(JsonLines(SERVICE))
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]  # noqa: ARG005  see the docstring
        self._log = logging.Logger("cli.stack")  # noqa: LOG001  not everybody's: a program may run two stacks
        self._log.addHandler(self._handler)

    def write(self, change: Change) -> None:
        extra = {"child": change.child, "state": change.state}
        self._log.info("%s: %s", change.child, change.sentence, extra=extra)

    def close(self) -> None:
        """More may be written: the file is opened again."""
        self._handler.close()
