"""Reads what one Envoy counted, from its admin interface: a few milliseconds, and no Prometheus in between.

Called by `adapter.py`. What is counted is defined in `listener.py`. Counters are written the moment a request ends, so a reading
misses nothing that was answered before it. Latencies follow with Envoy's next flush, at most `bootstrap.FLUSH_S` later, those of
all versions at once. All are cumulative.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import numpy as np

from judge import bins
from judge.samples import NO_COUNTS, Counts, Sample, plus

from .listener import STATS_PREFIX
from .routes import SPLIT

READ_S = 1.0  # of one reading
_NAME = re.compile(
    STATS_PREFIX + r"\.(?P<what>requests|errors|latency|abandoned)\.model\.(?P<model>.+)\.version\.(?P<version>\d+)"
    r"\.kind\." + SPLIT + r"\.epoch\.(?P<epoch>\d+)\.replica\.(?P<replica>.*)"
)
_UNITS_US = {"latency": 1.0, "abandoned": 1000.0}

Entries = Iterable[Mapping[str, Any]]  # of Envoy's JSON, one per counter or histogram
Series = tuple[str, int, int, str]  # model, version, epoch, replica


class Unreadable(Exception):
    """The gateway's counts cannot be known now; the message says why."""


class Reader:
    """Reads one gateway process, one reading at a time. Questions asked meanwhile share the next, which begins after the last."""

    def __init__(self, http: aiohttp.ClientSession, node_id: str, admin: str) -> None:
        self._http = http
        self._node_id = node_id
        self._admin = admin
        self._identity: str | None = None
        self._asked: set[str] = set()
        self._next: asyncio.Task[Mapping[str, tuple[Sample, ...]] | Unreadable] | None = None
        self._turn = asyncio.Lock()

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        """Cumulative counts of the model's split route. Raises Unreadable, within twice READ_S."""
        self._asked.add(model_name)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        answer = await asyncio.shield(self._next)
        if isinstance(answer, Unreadable):
            raise Unreadable(str(answer)) from answer.__cause__
        return answer.get(model_name, ())

    async def _read(self) -> Mapping[str, tuple[Sample, ...]] | Unreadable:
        """Of all models that were asked for. Never raises: nobody may be left who asked."""
        async with self._turn:
            await asyncio.sleep(0)  # let everybody ask who wants to
            names, self._asked, self._next = self._asked, set(), None
            try:
                async with asyncio.timeout(READ_S):
                    if self._identity is None:
                        self._identity = f"{self._node_id}@{await process_id(self._http, self._admin)}"
                    return samples(*await _stats(self._http, self._admin, names), self._identity)
            except (aiohttp.ClientError, TimeoutError, OSError, Unreadable) as error:
                why = Unreadable(str(error) or f"no answer within {READ_S:g} s")
                why.__cause__ = error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                why = Unreadable(f"its answer is not what Envoy says of its counts: {error!r}")
                why.__cause__ = error
            return why


async def process_id(http: aiohttp.ClientSession, admin: str) -> str:
    """The moment at which the Envoy process read its bootstrap: another one after every start."""
    dump = await _get(http, f"http://{admin}/config_dump", {"mask": "last_updated"})
    found = [c["last_updated"] for c in dump.get("configs", ()) if c.get("@type", "").endswith(".BootstrapConfigDump")]
    if not found:
        raise Unreadable("the configuration dump does not tell when the process started")
    return str(found[0])


async def _stats(http: aiohttp.ClientSession, admin: str, model_names: Iterable[str]) -> tuple[Entries, Entries]:
    """Counters and histograms of the models' split routes. Asked for by type, Envoy walks over nothing else that it keeps."""
    names = "|".join(re.escape(name) for name in sorted(model_names))
    of_split = rf"\.model\.({names})\.version\.[0-9]+\.kind\.{SPLIT}\."
    url, query = f"http://{admin}/stats", {"format": "json"}
    counters = query | {"type": "Counters", "filter": rf"^{STATS_PREFIX}\.(requests|errors){of_split}"}
    histograms = query | {
        "type": "Histograms",
        "filter": rf"^{STATS_PREFIX}\.(latency|abandoned){of_split}",
        "histogram_buckets": "detailed",
    }
    counted, measured = await asyncio.gather(_get(http, url, counters), _get(http, url, histograms))
    return counted["stats"], [histogram for entry in measured["stats"] for histogram in entry["histograms"]["details"]]


def samples(counted: Entries, measured: Entries, gateway: str) -> dict[str, tuple[Sample, ...]]:
    """Samples by model: one per version, epoch and replica ("" for requests that no replica was found for).

    A request is counted before its error, but not read in that order: errors are capped. Raises ValueError, KeyError or
    TypeError if the entries are not as Envoy writes them.
    """
    counters: dict[str, dict[Series, int]] = {"requests": {}, "errors": {}}
    for entry in counted:
        if (found := _NAME.fullmatch(entry["name"])) is not None:
            counters[found["what"]][_series(found)] = int(entry["value"])
    latencies: dict[Series, Counts] = {}
    for entry in measured:
        if (found := _NAME.fullmatch(entry["name"])) is not None:
            series, latency = _series(found), latency_counts(entry["totals"], _UNITS_US[found["what"]])
            latencies[series] = plus(latencies.get(series, NO_COUNTS), latency)
    by_model: dict[str, list[Sample]] = {}
    for series, requests in sorted(counters["requests"].items()):
        name, version, epoch, replica = series
        errors = min(requests, counters["errors"].get(series, 0))
        sample = Sample(gateway, epoch, version, requests, errors, replica, latencies.get(series, NO_COUNTS))
        by_model.setdefault(name, []).append(sample)
    return {name: tuple(of_model) for name, of_model in by_model.items()}


def _series(name: re.Match[str]) -> Series:
    return name["model"], int(name["version"]), int(name["epoch"]), name["replica"]


def latency_counts(totals: Entries, unit_us: float = 1.0) -> Counts:
    """The buckets of one of Envoy's histograms (libcircllhist), counted in units of unit_us (a power of ten), in the judge's bins.

    The buckets are the judge's bins but for the ends, where the judge has one bin for all. The middle of a bucket tells which bin
    it is; its bounds may read 459.99999999999994.
    """
    buckets = [(bucket["lower_bound"] + bucket["width"] / 2.0, int(bucket["count"])) for bucket in totals]
    indices = bins.index_of(unit_us * np.array([middle for middle, _ in buckets], dtype=np.float64)).tolist()
    found: dict[int, int] = {}
    for index, (_, count) in zip(indices, buckets, strict=True):
        found[index] = found.get(index, 0) + count
    return tuple(sorted(found.items()))


async def _get(http: aiohttp.ClientSession, url: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    async with http.get(url, params=query) as response:
        if response.status != 200:
            raise Unreadable(f"{url} answered {response.status}")
        answer = await response.json(content_type=None)
        if not isinstance(answer, dict):
            raise Unreadable(f"{url} did not answer a JSON object")
        return answer
