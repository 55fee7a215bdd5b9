"""One span for each routing and gateway: from its publication until that gateway has confirmed or refused it.

Driven by `ads.py`. It hangs below whatever was being traced when the routing was published; what nobody traces is not remembered. At most one
for each model and gateway.
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry import trace

from rollout import model

NAME = "xds push"


class Pushes:
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._open: dict[tuple[str, str], trace.Span] = {}  # (gateway, model) -> its span

    def begin(self, name: str, nodes: Iterable[str], epoch: int | None) -> None:
        """A routing was published (None: taken away), in the context of the one who does it."""
        kept = trace.get_current_span().is_recording()
        for node in nodes:
            self._end(node, name, "superseded")
            if kept:
                about = {"model": name, "gateway": node} | ({} if epoch is None else {"epoch": epoch})
                self._open[node, name] = self._tracer.start_span(NAME, kind=trace.SpanKind.PRODUCER, attributes=about)

    def sent(self, node: str, kind: str, version: str) -> None:
        """A response went out. Responses are for all models, so it is told to each that is waiting."""
        for (gateway, _), span in self._open.items():
            if gateway == node:
                span.add_event("sent", {"type": kind.rpartition(".")[2], "version": version})

    def heard(self, node: str, name: str, ack: model.Ack, words: str) -> None:
        if ack is model.Ack.REFUSED and (span := self._open.get((node, name))) is not None:
            span.set_status(trace.StatusCode.ERROR, words)
        if ack is not model.Ack.NOT_YET:
            self._end(node, name, ack.value)

    def gone(self, node: str) -> None:
        for gateway, name in list(self._open):
            if gateway == node:
                self._end(gateway, name, "disconnected")

    def _end(self, node: str, name: str, outcome: str) -> None:
        span = self._open.pop((node, name), None)
        if span is not None:
            span.set_attribute("outcome", outcome)
            span.end()
