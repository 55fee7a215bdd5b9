"""What our processes write down: JSON lines on standard error, with the ids of the request and of the trace that they belong to.

Set up once by `controlplane.main`; the launcher in `cli/` writes the same lines to a file. docs/operate.md names the fields, and
`monitoring/collector/` reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar

from opentelemetry import trace

from .jsonlines import JsonLines

NO_IDS: Mapping[str, str] = {}
# Fields of whatever this task is busy with, such as the id of the API's request.
IDS: ContextVar[Mapping[str, str]] = ContextVar("slipway_ids", default=NO_IDS)


def ids() -> Mapping[str, str]:
    """The fields that hold here and now; a span of ours that is kept counts more than the caller's."""
    span = trace.get_current_span().get_span_context()
    if not span.trace_flags.sampled:
        return IDS.get()
    return {**IDS.get(), "trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def configure(level: str, service: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(service, ids))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "alembic"):
        logging.getLogger(noisy).setLevel("WARNING")
