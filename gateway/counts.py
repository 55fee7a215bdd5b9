"""Reads what one Envoy counted, from its admin interface: one request, a few milliseconds, and no Prometheus in between.

Called by `adapter.py`. The counters are defined in `listener.py`; they are written the moment a request ends, so a reading
misses nothing that was answered before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from judge.samples import Sample

from .listener import STATS_PREFIX
from .routes import SPLIT

_TAIL = re.compile(r"\.version\.(\d+)\.kind\." + SPLIT + r"\.epoch\.(\d+)")


class Unreadable(Exception):
    """The admin interface answered something that is not what Envoy answers."""


async def process_id(http: aiohttp.ClientSession, admin: str) -> str:
    """The moment at which the Envoy process read its bootstrap: another one after every start."""
    dump = await _get(http, f"http://{admin}/config_dump", {"mask": "last_updated"})
    found = [c["last_updated"] for c in dump.get("configs", ()) if c.get("@type", "").endswith(".BootstrapConfigDump")]
    if not found:
        raise Unreadable("the configuration dump does not tell when the process started")
    return str(found[0])


async def read(http: aiohttp.ClientSession, admin: str, gateway: str, model_name: str) -> tuple[Sample, ...]:
    """Cumulative counts of the model's split route."""
    pattern = rf"^{STATS_PREFIX}\.(requests|errors)\.model\.{re.escape(model_name)}\.version\.[0-9]+\.kind\.{SPLIT}\."
    answer = await _get(http, f"http://{admin}/stats", {"filter": pattern, "format": "json"})
    counters = {entry["name"]: int(entry["value"]) for entry in answer.get("stats", ()) if "name" in entry}
    return tuple(samples(counters, gateway, model_name))


def samples(counters: Mapping[str, int], gateway: str, model_name: str) -> Iterable[Sample]:
    """Counters by name -> samples. A request is counted before its error, but not read in that order: errors are capped."""
    prefixes = {kind: f"{STATS_PREFIX}.{kind}.model.{model_name}" for kind in ("requests", "errors")}
    for name, requests in sorted(counters.items()):
        tail = _TAIL.fullmatch(name.removeprefix(prefixes["requests"]))
        if tail is not None:
            errors = counters.get(prefixes["errors"] + tail[0], 0)
            yield Sample(gateway, int(tail[2]), int(tail[1]), requests, min(errors, requests))


async def _get(http: aiohttp.ClientSession, url: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    async with http.get(url, params=query) as response:
        if response.status != 200:
            raise Unreadable(f"{url} answered {response.status}")
        answer = await response.json(content_type=None)
        if not isinstance(answer, dict):
            raise Unreadable(f"{url} did not answer a JSON object")
        return answer
