"""Reads what one Envoy counted, from its admin interface: one request, a few milliseconds, and no Prometheus in between.

Called by `adapter.py`. What is counted is defined in `listener.py`. Counters are written the moment a request ends, so a reading
misses nothing that was answered before it; latencies are collected from Envoy's threads by each reading, and are in the next.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np

from judge import bins
from judge.samples import NO_COUNTS, Counts, Sample, plus

from .listener import STATS_PREFIX
from .routes import SPLIT

READ_S = 1.0  # of one reading
_TAIL = re.compile(r"(?P<version>\d+)\.kind\." + SPLIT + r"\.epoch\.(?P<epoch>\d+)\.replica\.(?P<replica>-|[0-9a-fA-F.:\[\]]+)")
_NOBODY = "-"  # the replica of a request that reached none


@dataclass(frozen=True, slots=True)
class Counted:
    """One reading, by full name: counters, and the bins of the latencies."""

    counters: Mapping[str, int]
    latencies: Mapping[str, Counts]


class Unreadable(Exception):
    """The gateway's counts cannot be known now; the message says why."""


class Reader:
    """Reads one gateway process. Questions asked at the same time share one reading, which begins after the last of them."""

    def __init__(self, http: aiohttp.ClientSession, node_id: str, admin: str) -> None:
        self._http = http
        self._node_id = node_id
        self._admin = admin
        self._identity: str | None = None
        self._asked: set[str] = set()
        self._next: asyncio.Task[Counted | Unreadable] | None = None

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        """Cumulative counts of the model's split route. Raises Unreadable within READ_S."""
        self._asked.add(model_name)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        answer = await asyncio.shield(self._next)
        if isinstance(answer, Unreadable):
            raise Unreadable(str(answer)) from answer.__cause__
        return tuple(samples(answer, self._identity or self._node_id, model_name))

    async def _read(self) -> Counted | Unreadable:
        """Never raises: nobody may be left who asked."""
        await asyncio.sleep(0)  # let everybody ask who wants to
        names, self._asked, self._next = self._asked, set(), None
        try:
            async with asyncio.timeout(READ_S):
                if self._identity is None:
                    self._identity = f"{self._node_id}@{await process_id(self._http, self._admin)}"
                return await read(self._http, self._admin, names)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, Unreadable) as error:
            why = Unreadable(str(error) or f"no answer within {READ_S:g} s")
            why.__cause__ = error
            return why


async def process_id(http: aiohttp.ClientSession, admin: str) -> str:
    """The moment at which the Envoy process read its bootstrap: another one after every start."""
    dump = await _get(http, f"http://{admin}/config_dump", {"mask": "last_updated"})
    found = [c["last_updated"] for c in dump.get("configs", ()) if c.get("@type", "").endswith(".BootstrapConfigDump")]
    if not found:
        raise Unreadable("the configuration dump does not tell when the process started")
    return str(found[0])


async def read(http: aiohttp.ClientSession, admin: str, model_names: Iterable[str]) -> Counted:
    """The counters and latencies of the models' split routes."""
    names = "|".join(re.escape(name) for name in sorted(model_names))
    pattern = rf"^{STATS_PREFIX}\.(requests|errors|latency)\.model\.({names})\.version\.[0-9]+\.kind\.{SPLIT}\."
    query = {"filter": pattern, "format": "json", "histogram_buckets": "detailed"}
    answer = await _get(http, f"http://{admin}/stats", query)
    counters: dict[str, int] = {}
    latencies: dict[str, Counts] = {}
    for entry in answer.get("stats", ()):
        if "name" in entry:
            counters[entry["name"]] = int(entry["value"])
        for histogram in entry.get("histograms", {}).get("details", ()):
            latencies[histogram["name"]] = binned(histogram["totals"])
    return Counted(counters, latencies)


def binned(totals: Iterable[Mapping[str, float]]) -> Counts:
    """Envoy's buckets are the judge's, but for those below 10 microseconds; 460 may read 459.99999999999994."""
    lower_us = [round(bucket["lower_bound"], 3) for bucket in totals]
    counts = [int(bucket["count"]) for bucket in totals]
    found: Counts = NO_COUNTS
    for index, count in zip(bins.index_of(np.array(lower_us)).tolist(), counts, strict=True):
        found = plus(found, ((index, count),)) if found and found[-1][0] == index else (*found, (index, count))
    return found


def samples(counted: Counted, gateway: str, model_name: str) -> Iterable[Sample]:
    """One reading -> samples. A request is counted before its error, but not read in that order: errors are capped."""
    start = f"{STATS_PREFIX}.requests.model.{model_name}.version."
    for name, requests in sorted(counted.counters.items()):
        if not name.startswith(start):
            continue
        tail = _TAIL.fullmatch(name.removeprefix(start))
        if tail is None:
            continue
        rest = name.removeprefix(f"{STATS_PREFIX}.requests")
        errors = counted.counters.get(f"{STATS_PREFIX}.errors{rest}", 0)
        yield Sample(
            gateway,
            epoch=int(tail["epoch"]),
            version=int(tail["version"]),
            requests=requests,
            errors=min(errors, requests),
            replica="" if tail["replica"] == _NOBODY else tail["replica"],
            latency=counted.latencies.get(f"{STATS_PREFIX}.latency{rest}", NO_COUNTS),
        )


async def _get(http: aiohttp.ClientSession, url: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    async with http.get(url, params=query) as response:
        if response.status != 200:
            raise Unreadable(f"{url} answered {response.status}")
        answer = await response.json(content_type=None)
        if not isinstance(answer, dict):
            raise Unreadable(f"{url} did not answer a JSON object")
        return answer
