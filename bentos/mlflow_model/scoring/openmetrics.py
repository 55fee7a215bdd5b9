"""PURE. Prometheus' text format -> OpenMetrics, which alone carries exemplars: a trace that fell into each bucket of a histogram.

BentoML and prometheus-client's shared folder of several processes know the text format only. Called for each scrape that asks for OpenMetrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WANTED = b"application/openmetrics-text"  # in the header Accept
MEDIA = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_EDGE = re.compile(r'[{,]le="([^"]+)"')
_KINDS = {"untyped": "unknown"}


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A request that was traced. seconds: the value that was counted. at_s: when, in seconds since 1970."""

    trace_id: int
    seconds: float
    at_s: float

    def __str__(self) -> str:
        return f' # {{trace_id="{self.trace_id:032x}"}} {self.seconds:.6f} {self.at_s:.3f}'


def converted(text: str, histogram: str, exemplars: Mapping[str, Exemplar]) -> str:
    """`exemplars` of the histogram's buckets, by their upper edge as it is written there."""
    return "".join(f"{line}\n" for line in _lines(text, f"{histogram}_bucket{{", exemplars))


def _lines(text: str, bucket: str, exemplars: Mapping[str, Exemplar]) -> Iterator[str]:
    about, left_out = "", False
    for line in text.splitlines():
        if line.startswith("# HELP "):
            about = line  # it stands before the type, which decides on the family's name
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ", 1)
            left_out = name.endswith("_created")  # families of their own in text, and nobody asks
            family = name.removesuffix("_total") if kind == "counter" else name
            if about and not left_out:
                yield f"# HELP {family}{about.removeprefix(f'# HELP {name}')}"
            if not left_out:
                yield f"# TYPE {family} {_KINDS.get(kind, kind)}"
            about = ""
        elif left_out or not line or line.startswith("#"):
            continue
        elif line.startswith(bucket) and (edge := _EDGE.search(line)) is not None and edge[1] in exemplars:
            yield f"{line}{exemplars[edge[1]]}"
        else:
            yield line
    yield "# EOF"
