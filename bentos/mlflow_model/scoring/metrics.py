"""What a bento counts of itself, beside BentoML's own metrics and on the same /metrics.

Created in the worker only, after BentoML has set up its shared folder for metric values; imported earlier, they would be lost.
"""

from __future__ import annotations

from collections.abc import Callable

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def counter(model: str, version: str) -> Callable[[int, float], None]:
    """A function to call with the status and the seconds of each answered request."""
    from prometheus_client import Counter, Histogram  # noqa: PLC0415 - not before the worker is set up, see above

    labels = {"model": model, "version": version}
    requests = Counter("slipway_server_requests", "Requests answered by the model server", [*labels, "code"])
    seconds = Histogram("slipway_server_request_seconds", "Time in the model server", [*labels], buckets=BUCKETS)
    duration = seconds.labels(**labels)
    per_code: dict[int, Counter] = {}

    def counted(status: int, took_s: float) -> None:
        if status not in per_code:
            per_code[status] = requests.labels(**labels, code=str(status))
        per_code[status].inc()
        duration.observe(took_s)

    return counted
