"""One trace of each pass that changed something: its words, its actions, and below them what the gateways were sent and confirmed.

Used by `passes.py`. Most passes find nothing to do, so times are only noted until it is known that this one did; it becomes a trace then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import context, trace

SERVICE = "slipway-controlplane"
ROOT = "pass"


class PassTrace:
    """Of one pass over one model. `clock_ns`: nanoseconds since 1970."""

    def __init__(self, tracer: trace.Tracer, model_name: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._tracer = tracer
        self._model = model_name
        self._clock_ns = clock_ns
        self._began = clock_ns()
        self._words: list[tuple[str, int, int]] = []
        self._root: trace.Span | None = None
        self._inner: trace.Span = trace.INVALID_SPAN  # the word that is being done

    @property
    def id(self) -> str | None:
        """None: it is not kept, or nobody wants traces."""
        if self._root is None or not self._root.is_recording():
            return None
        return f"{self._root.get_span_context().trace_id:032x}"

    def keep(self, **attributes: str) -> None:
        """Called once it is known that the pass changes something, and again to say more of it."""
        if self._root is None:
            self._root = self._tracer.start_span(
                ROOT, context.Context(), attributes={"model": self._model}, start_time=self._began
            )
            for name, since, until in self._words:
                self._tracer.start_span(name, self._below(self._root), start_time=since).end(until)
            self._inner = self._root
        self._root.set_attributes(attributes)

    def tell(self, kind: str, sentence: str) -> None:
        """A fact of the history, as an event of the trace."""
        if self._root is not None:
            self._root.add_event(kind, {"sentence": sentence})

    @contextmanager
    def word(self, name: str) -> Iterator[None]:
        """A part of the pass. What is traced inside, in whichever room, hangs below it."""
        if self._root is None:
            since = self._clock_ns()
            try:
                yield
            finally:
                self._words.append((name, since, self._clock_ns()))
            return
        with self._tracer.start_as_current_span(name, self._below(self._inner)) as span:
            outer, self._inner = self._inner, span
            try:
                yield
            finally:
                self._inner = outer

    @contextmanager
    def current(self) -> Iterator[None]:
        """For log lines and exemplars of the pass itself."""
        if self._root is None:
            yield
            return
        with trace.use_span(self._root):
            yield

    def problem(self, sentence: str) -> None:
        """It could not do all that it wanted."""
        if self._root is not None:
            self._root.set_status(trace.StatusCode.ERROR, sentence)

    def failed(self, sentence: str) -> None:
        """It broke, which is always worth a look."""
        self.keep()
        self.problem(sentence)

    def end(self) -> None:
        if self._root is not None:
            self._root.end(self._clock_ns())

    def _below(self, span: trace.Span) -> context.Context:
        return trace.set_span_in_context(span, context.Context())
