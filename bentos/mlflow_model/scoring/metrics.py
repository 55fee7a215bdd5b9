"""What a bento counts of itself, beside BentoML's own metrics and on the same /metrics.

Created in the worker only, after BentoML has set up its shared folder for metric values; imported earlier, they would be lost. A value in
that folder costs 1.5 to 3 microseconds to change, 13 for a request in all. So a request leaves its numbers in a line, at the price of one
call, and a thread brings what they come to into the folder once a second; so does each scrape.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import openmetrics

if TYPE_CHECKING:
    from prometheus_client import Histogram

LOG = logging.getLogger("bentoml.slipway.metrics")  # below "bentoml", whose handlers are set up
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)
EVERY_S = 1.0
DURATION = "slipway_server_request_duration_seconds"
_SECONDS, _ROWS = np.array(SECONDS), np.array(ROWS)
_EDGES = (*(f"{edge}" for edge in SECONDS), "+Inf")  # as they are written


# Of one request: its status, the seconds it took, its trace id (0: it is not traced), and when it ended by time.perf_counter().
Answered = tuple[int, float, int, float]
T = TypeVar("T")


def _taken(line: deque[T]) -> list[T]:
    """All that is in the line, while others go on appending to it."""
    return [line.popleft() for _ in range(len(line))]


def _give(into: Histogram, edges: np.ndarray[Any, Any], values: Sequence[float]) -> None:
    # prometheus-client has no call for many values at once; a contract test holds these two names
    given = np.array(values)
    counts = np.bincount(np.searchsorted(edges, given), minlength=len(edges) + 1)
    for place in np.flatnonzero(counts).tolist():
        into._buckets[place].inc(int(counts[place]))  # noqa: SLF001
    into._sum.inc(float(given.sum()))  # noqa: SLF001


class Meter:
    """Of one model version. One per process: the names are registered with Prometheus' client."""

    def __init__(self, model: str, version: str) -> None:
        from prometheus_client import Counter as Count  # noqa: PLC0415 - not before the worker is set up, see above
        from prometheus_client import Histogram  # noqa: PLC0415

        whose = {"model": model, "model_version": version}
        names = list(whose)
        requests = Count("slipway_server_requests", "Requests answered by the model server", [*names, "code"])
        duration = Histogram(DURATION, "Time in the model server", names, buckets=SECONDS)
        stage = Histogram(
            "slipway_server_stage_duration_seconds",
            "Waiting for the model (the first of a batch), and the model's call",
            [*names, "stage"],
            buckets=SECONDS,
        )
        predictions = Count("slipway_server_predictions", "Rows that the model was given", names)
        batch = Histogram("slipway_server_batch_rows", "Rows in one call of the model", names, buckets=ROWS)
        lost = Count("slipway_server_spans_lost", "Spans of traced requests that nobody took", [*names, "reason"])
        logged = Count("slipway_server_log_rows", "Rows written to the prediction log", names)
        unlogged = Count("slipway_server_log_rows_lost", "Sampled rows that the prediction log lost", [*names, "reason"])
        self._whose = whose
        self._requests = requests
        self._duration = duration.labels(**whose)
        self._batch = batch.labels(**whose)
        self._queue, self._inference = (stage.labels(**whose, stage=name) for name in ("queue", "inference"))
        self._predictions = predictions.labels(**whose)
        self._lost = {reason: lost.labels(**whose, reason=reason) for reason in ("queue", "refused")}
        self._logged = logged.labels(**whose)
        self._unlogged = {reason: unlogged.labels(**whose, reason=reason) for reason in ("queue", "storage", "encoding")}
        # There from the start, so that the first of them is an increase.
        self._codes = {code: requests.labels(**whose, code=str(code)) for code in (200, 500)}
        self._answers: deque[Answered] = deque()
        self._calls: deque[tuple[int, float, float]] = deque()
        self._exemplars: dict[str, openmetrics.Exemplar] = {}
        self._flushing = threading.Lock()
        self.answered: Callable[[Answered], None] = self._answers.append

    def begin(self) -> None:
        """Flush from now on, as long as the process lives."""
        threading.Thread(target=self._flush_again_and_again, name="metrics", daemon=True).start()

    def _flush_again_and_again(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                self.flush()
            except OSError as error:  # the folder is full; without this thread the lines would grow for ever
                LOG.warning("numbers of a second are lost to /metrics: %s", error)

    def called(self, rows: int, waited_s: float, took_s: float) -> None:
        """One call of the model, in the worker thread."""
        self._calls.append((rows, waited_s, took_s))

    def exemplars(self) -> dict[str, openmetrics.Exemplar]:
        """As of the last flush, the last traced request in each bucket of DURATION, by the bucket's upper edge."""
        return dict(self._exemplars)

    def flush(self) -> None:
        """Into what is scraped. From any thread."""
        with self._flushing:
            if answers := _taken(self._answers):
                self._flush_answers(answers)
            if calls := _taken(self._calls):
                rows, waited_s, took_s = zip(*calls, strict=True)
                self._predictions.inc(sum(rows))
                _give(self._batch, _ROWS, rows)
                _give(self._queue, _SECONDS, waited_s)
                _give(self._inference, _SECONDS, took_s)

    def _flush_answers(self, answers: Sequence[Answered]) -> None:
        statuses, took_s, _, _ = zip(*answers, strict=True)
        for status, count in Counter(statuses).items():
            if status not in self._codes:
                self._codes[status] = self._requests.labels(**self._whose, code=str(status))
            self._codes[status].inc(count)
        _give(self._duration, _SECONDS, took_s)
        epoch_s = time.time_ns() / 1e9 - time.perf_counter()
        for _, took, trace_id, ended in answers:
            if trace_id:
                edge = _EDGES[bisect_left(SECONDS, took)]
                self._exemplars[edge] = openmetrics.Exemplar(trace_id, took, epoch_s + ended)

    def spans_lost(self, spans: int, reason: str) -> None:
        """From any thread."""
        self._lost[reason].inc(spans)

    def rows_logged(self, rows: int) -> None:
        """From any thread."""
        self._logged.inc(rows)

    def rows_lost(self, rows: int, reason: str) -> None:
        """From any thread."""
        self._unlogged[reason].inc(rows)
