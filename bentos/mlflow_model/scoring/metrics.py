"""What a bento counts of itself, beside BentoML's own metrics and on the same /metrics.

Created in the worker only, after BentoML has set up its shared folder for metric values; imported earlier, they would be lost. A value in
that folder costs 1.5 to 3 microseconds to change, 13 for a request in all. So they are added up in plain numbers, and reach the folder
a few times a second, and before each scrape.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from . import openmetrics

if TYPE_CHECKING:
    from prometheus_client import Histogram

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)
EVERY_S = 0.25
DURATION = "slipway_server_request_duration_seconds"
_EDGES = (*(f"{edge}" for edge in SECONDS), "+Inf")  # as they are written


class _Sum:
    """What one histogram is to be given."""

    def __init__(self, into: Histogram, edges: tuple[float, ...]) -> None:
        self._into = into
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._edges, value)] += 1
        self._total += value

    def flush(self) -> None:
        # prometheus-client has no call for many values at once; a contract test holds these two names
        for place, count in enumerate(self._counts):
            if count:
                self._into._buckets[place].inc(count)  # noqa: SLF001
                self._counts[place] = 0
        self._into._sum.inc(self._total)  # noqa: SLF001
        self._total = 0.0


class Meter:
    """Of one model version. One per process: the names are registered with Prometheus' client."""

    def __init__(self, model: str, version: str) -> None:
        from prometheus_client import Counter, Histogram  # noqa: PLC0415 - not before the worker is set up, see above

        whose = {"model": model, "model_version": version}
        names = list(whose)
        requests = Counter("slipway_server_requests", "Requests answered by the model server", [*names, "code"])
        duration = Histogram(DURATION, "Time in the model server", names, buckets=SECONDS)
        stage = Histogram(
            "slipway_server_stage_duration_seconds",
            "Waiting for the model (the first of a batch), and the model's call",
            [*names, "stage"],
            buckets=SECONDS,
        )
        predictions = Counter("slipway_server_predictions", "Rows that the model was given", names)
        batch = Histogram("slipway_server_batch_rows", "Rows in one call of the model", names, buckets=ROWS)
        lost = Counter("slipway_server_spans_lost", "Spans of traced requests that nobody took", [*names, "reason"])
        logged = Counter("slipway_server_log_rows", "Rows written to the prediction log", names)
        unlogged = Counter("slipway_server_log_rows_lost", "Sampled rows that the prediction log lost", [*names, "reason"])
        self._whose = whose
        self._requests = requests
        self._duration = _Sum(duration.labels(**whose), SECONDS)
        self._queue, self._inference = (_Sum(stage.labels(**whose, stage=name), SECONDS) for name in ("queue", "inference"))
        self._batch = _Sum(batch.labels(**whose), ROWS)
        self._predictions = predictions.labels(**whose)
        self._lost = {reason: lost.labels(**whose, reason=reason) for reason in ("queue", "refused")}
        self._logged = logged.labels(**whose)
        self._unlogged = {reason: unlogged.labels(**whose, reason=reason) for reason in ("queue", "storage", "encoding")}
        # There from the start, so that the first of them is an increase.
        self._codes = {code: requests.labels(**whose, code=str(code)) for code in (200, 500)}
        self._answers: dict[int, int] = {}
        self._rows = 0
        self._exemplars: dict[str, openmetrics.Exemplar] = {}
        self._lock = threading.Lock()
        self._flush_at = 0.0

    def answered(self, status: int, took_s: float, trace_id: int = 0) -> None:
        """One request; 0: it was not traced."""
        if trace_id:
            edge = _EDGES[bisect_left(SECONDS, took_s)]
            self._exemplars[edge] = openmetrics.Exemplar(trace_id, took_s, time.time_ns() / 1e9)
        with self._lock:
            self._answers[status] = self._answers.get(status, 0) + 1
            self._duration.observe(took_s)
        if time.monotonic() >= self._flush_at:
            self.flush()

    def called(self, rows: int, waited_s: float, took_s: float) -> None:
        """One call of the model, in the worker thread."""
        with self._lock:
            self._queue.observe(waited_s)
            self._inference.observe(took_s)
            self._batch.observe(rows)
            self._rows += rows

    def exemplars(self) -> dict[str, openmetrics.Exemplar]:
        """The last traced request in each bucket of DURATION, by the bucket's upper edge."""
        return dict(self._exemplars)

    def flush(self) -> None:
        """Into what is scraped."""
        with self._lock:
            for status, count in self._answers.items():
                counted = self._codes.get(status)
                if counted is None:
                    counted = self._codes[status] = self._requests.labels(**self._whose, code=str(status))
                counted.inc(count)
            self._answers.clear()
            for one in (self._duration, self._queue, self._inference, self._batch):
                one.flush()
            self._predictions.inc(self._rows)
            self._rows = 0
            self._flush_at = time.monotonic() + EVERY_S

    def spans_lost(self, spans: int, reason: str) -> None:
        """From any thread."""
        self._lost[reason].inc(spans)

    def rows_logged(self, rows: int) -> None:
        """From any thread."""
        self._logged.inc(rows)

    def rows_lost(self, rows: int, reason: str) -> None:
        """From any thread."""
        self._unlogged[reason].inc(rows)
