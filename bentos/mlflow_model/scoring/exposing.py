"""Shows what was counted: on the bento's /metrics for Prometheus, and at /counts for the control plane.

Also at /counts/answers what the split's requests were answered (see `answers`). An ASGI app between ours and BentoML's. The lines are
made when somebody asks, from one array: a value of prometheus-client's shared folder would cost 2 microseconds per bin of each row. Whoever
asks for OpenMetrics gets /metrics in it, with exemplars. /counts names the process, so that counters of two lives, or of two workers
of one replica, are never taken for one; a gateway routes neither address to clients.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import orjson

from . import answers, counting, metrics, openmetrics

FORMAT = 1  # of /counts
SHOWN = 100  # features in Prometheus, the most important ones; /counts has them all
MOST = 20  # bins of predictions in Prometheus; /counts has them all
FEATURES, PREDICTIONS = "slipway_server_feature_rows_total", "slipway_server_prediction_rows_total"
COUNTING, FAILURES = "slipway_server_counting", "slipway_server_counting_failures_total"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Exposed:
    """Wraps BentoML's app. `exemplars`: of the requests' durations."""

    def __init__(
        self,
        inner: Any,
        model: str,
        version: str,
        reference: counting.Reference | str,
        *,
        exemplars: Callable[[], Mapping[str, openmetrics.Exemplar]] = dict,
    ) -> None:
        self._inner = inner
        self._exemplars = exemplars
        self.answers = answers.Answers()
        self._whose = f'model="{model.translate(_ESCAPES)}",model_version="{version.translate(_ESCAPES)}"'
        self.counter = None if isinstance(reference, str) else counting.Counter(reference)
        self._reason = reference if isinstance(reference, str) else None
        if self._reason is not None:
            counting.LOG.warning("features are not counted for drift: %s", self._reason)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        path = scope.get("path") if scope["type"] == "http" and scope["method"] == "GET" else None
        if path == "/counts":
            await _answer(send, orjson.dumps(self._counts()))
        elif path == "/counts/answers":
            await _answer(send, orjson.dumps(self.answers.counted()))
        elif path == "/counts/profile" and self.counter is not None:
            await _answer(send, self.counter.reference.raw)
        elif path == "/metrics":
            rich = any(openmetrics.WANTED in value for name, value in scope["headers"] if name == b"accept")
            await self._inner(scope, receive, _Rewritten(send, self._rich if rich else self._plain))
        else:
            await self._inner(scope, receive, send)

    def _counts(self) -> dict[str, Any]:
        if self.counter is None:
            return {"format": FORMAT, "reason": self._reason}
        rows, counts = self.counter.counts()
        return {
            "format": FORMAT,
            "process": self.counter.process,
            "profile": self.counter.reference.fingerprint,
            "rows": rows,
            "failures": self.counter.failures,
            "counts": counts,
        }

    def _plain(self, answer: bytes) -> tuple[bytes, bytes | None]:
        """BentoML's answer and ours, and its media type if it is another."""
        return answer + "".join(self._lines()).encode(), None

    def _rich(self, answer: bytes) -> tuple[bytes, bytes | None]:
        text, _ = self._plain(answer)
        return openmetrics.converted(text.decode(), metrics.DURATION, self._exemplars()).encode(), openmetrics.MEDIA

    def _lines(self) -> Iterator[str]:
        """In Prometheus' text format. Every bin is there from the start, so that its first row is an increase."""
        yield f"# HELP {COUNTING} 1 while features and predictions are counted for drift\n# TYPE {COUNTING} gauge\n"
        yield f"{COUNTING}{{{self._whose}}} {int(self.counter is not None)}\n"
        if self.counter is None:
            return
        yield f"# HELP {FAILURES} Calls of the model whose rows could not be counted\n# TYPE {FAILURES} counter\n"
        yield f"{FAILURES}{{{self._whose}}} {self.counter.failures}\n"
        *features, (_, _, given) = self.counter.series()
        weights = self.counter.reference.weights
        shown = sorted(sorted(range(len(features)), key=lambda index: -weights[index])[:SHOWN])
        yield f"# HELP {FEATURES} Rows by feature and bin of the reference profile\n# TYPE {FEATURES} counter\n"
        for index in shown:
            name, names, many = features[index]
            whose = f'{FEATURES}{{{self._whose},feature="{name.translate(_ESCAPES)}",bin="'
            for label, count in zip(names, many, strict=True):
                yield f'{whose}{label.translate(_ESCAPES)}"}} {count}\n'
        yield f"# HELP {PREDICTIONS} Predictions by bin, at most 20, of the reference profile\n# TYPE {PREDICTIONS} counter\n"
        for label, count in _few(self.counter.reference.columns[-1], given):
            yield f'{PREDICTIONS}{{{self._whose},bin="{label.translate(_ESCAPES)}"}} {count}\n'


def _few(column: counting.Column, counts: Sequence[int]) -> Iterator[tuple[str, int]]:
    """MOST places at most. Of more numbers neighbours are added up, by the lower edge of the first; of more texts the rare ones are."""
    names = column.bins
    rest = len(names) - 3  # null at last, and two before it for what is beyond all others
    if isinstance(column, counting.Numbers):
        step = math.ceil((rest - 2) / (MOST - 5))
        starts = [0, 1, *range(2, rest, step), rest, rest + 1, rest + 2]
        called = [names[start] for start in starts]
    else:
        kept = min(rest, MOST - 3)
        starts = [*range(kept + 1), rest + 1, rest + 2]
        called = [*names[:kept], *names[rest:]]
    return zip(called, np.add.reduceat(np.array(counts), starts).tolist(), strict=True)


class _Rewritten:
    """A `send` that rewrites a good answer, all of it at once. `rewrite` gives the body, and the media type if it is another."""

    def __init__(self, send: Send, rewrite: Callable[[bytes], tuple[bytes, bytes | None]]) -> None:
        self._send = send
        self._rewrite = rewrite
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        if self._start["status"] == 200:
            self._body, media = self._rewrite(self._body)
            headers = {name.lower(): value for name, value in self._start["headers"]}
            headers |= {b"content-length": str(len(self._body)).encode()} | ({b"content-type": media} if media else {})
            self._start = {**self._start, "headers": list(headers.items())}
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": self._body})


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
