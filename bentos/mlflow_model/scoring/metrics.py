"""What a bento counts of itself, beside BentoML's own metrics and on the same /metrics.

Created in the worker only, after BentoML has set up its shared folder for metric values; imported earlier, they would be lost. A value in
that folder costs 1.5 to 3 microseconds to change, so a request changes few, and a batch of requests changes the rest once.
"""

from __future__ import annotations

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)


class Meter:
    """Of one model version. One per process: the names are registered with Prometheus' client."""

    def __init__(self, model: str, version: str) -> None:
        from prometheus_client import Counter, Histogram  # noqa: PLC0415 - not before the worker is set up, see above

        whose = {"model": model, "model_version": version}
        names = list(whose)
        requests = Counter("slipway_server_requests", "Requests answered by the model server", [*names, "code"])
        duration = Histogram("slipway_server_request_duration_seconds", "Time in the model server", names, buckets=SECONDS)
        stage = Histogram(
            "slipway_server_stage_duration_seconds",
            "Waiting for the model (the first of a batch), and the model's call",
            [*names, "stage"],
            buckets=SECONDS,
        )
        predictions = Counter("slipway_server_predictions", "Rows that the model was given", names)
        batch = Histogram("slipway_server_batch_rows", "Rows in one call of the model", names, buckets=ROWS)
        lost = Counter("slipway_server_spans_lost", "Spans of traced requests that nobody took", [*names, "reason"])
        self._whose = whose
        self._requests = requests
        self._duration = duration.labels(**whose)
        self._queue, self._inference = (stage.labels(**whose, stage=name) for name in ("queue", "inference"))
        self._predictions = predictions.labels(**whose)
        self._batch = batch.labels(**whose)
        self._lost = {reason: lost.labels(**whose, reason=reason) for reason in ("queue", "refused")}
        # There from the start, so that the first of them is an increase.
        self._codes = {code: requests.labels(**whose, code=str(code)) for code in (200, 500)}

    def answered(self, status: int, took_s: float) -> None:
        """One request."""
        counted = self._codes.get(status)
        if counted is None:
            counted = self._codes[status] = self._requests.labels(**self._whose, code=str(status))
        counted.inc()
        self._duration.observe(took_s)

    def called(self, rows: int, waited_s: float, took_s: float) -> None:
        """One call of the model, in the worker thread."""
        self._queue.observe(waited_s)
        self._inference.observe(took_s)
        self._batch.observe(rows)
        self._predictions.inc(rows)

    def spans_lost(self, spans: int, reason: str) -> None:
        """From any thread."""
        self._lost[reason].inc(spans)
