"""Reads what one Envoy counted, from its admin interface: one request, a few milliseconds, and no Prometheus in between.

Called by `adapter.py`. The counters are defined in `listener.py`; they are written the moment a request ends, so a reading
misses nothing that was answered before it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from judge.samples import Sample

from .listener import STATS_PREFIX
from .routes import SPLIT

READ_S = 1.0  # of one reading
_TAIL = re.compile(r"\.version\.(\d+)\.kind\." + SPLIT + r"\.epoch\.(\d+)")


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
        self._next: asyncio.Task[Mapping[str, int] | Unreadable] | None = None

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        """Cumulative counts of the model's split route. Raises Unreadable within READ_S."""
        self._asked.add(model_name)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        answer = await asyncio.shield(self._next)
        if isinstance(answer, Unreadable):
            raise Unreadable(str(answer)) from answer.__cause__
        return tuple(samples(answer, self._identity or self._node_id, model_name))

    async def _read(self) -> Mapping[str, int] | Unreadable:
        """Never raises: nobody may be left who asked."""
        await asyncio.sleep(0)  # let everybody ask who wants to
        names, self._asked, self._next = self._asked, set(), None
        try:
            async with asyncio.timeout(READ_S):
                if self._identity is None:
                    self._identity = f"{self._node_id}@{await process_id(self._http, self._admin)}"
                return await counters(self._http, self._admin, names)
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


async def counters(http: aiohttp.ClientSession, admin: str, model_names: Iterable[str]) -> Mapping[str, int]:
    """The counters of the models' split routes by name."""
    names = "|".join(re.escape(name) for name in sorted(model_names))
    pattern = rf"^{STATS_PREFIX}\.(requests|errors)\.model\.({names})\.version\.[0-9]+\.kind\.{SPLIT}\."
    answer = await _get(http, f"http://{admin}/stats", {"filter": pattern, "format": "json"})
    return {entry["name"]: int(entry["value"]) for entry in answer.get("stats", ()) if "name" in entry}


def samples(counted: Mapping[str, int], gateway: str, model_name: str) -> Iterable[Sample]:
    """Counters by name -> samples. A request is counted before its error, but not read in that order: errors are capped."""
    prefixes = {kind: f"{STATS_PREFIX}.{kind}.model.{model_name}" for kind in ("requests", "errors")}
    for name, requests in sorted(counted.items()):
        tail = _TAIL.fullmatch(name.removeprefix(prefixes["requests"]))
        if tail is not None:
            errors = counted.get(prefixes["errors"] + tail[0], 0)
            yield Sample(gateway, int(tail[2]), int(tail[1]), requests, min(errors, requests))


async def _get(http: aiohttp.ClientSession, url: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    async with http.get(url, params=query) as response:
        if response.status != 200:
            raise Unreadable(f"{url} answered {response.status}")
        answer = await response.json(content_type=None)
        if not isinstance(answer, dict):
            raise Unreadable(f"{url} did not answer a JSON object")
        return answer
