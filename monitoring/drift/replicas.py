"""Reads what replicas counted, and their reference profile, over HTTP. Called by the control plane's drift watcher.

Bounded in time and in size; nothing that a replica says is believed. A replica without counts is no error: it says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from monitoring.fetch import Fetcher, NotFetched

from .reference import MOST_BYTES
from .windows import Counted

FORMAT = 1  # of /counts
READ_S = 2.0
COUNTS_BYTES = 4 * 1024 * 1024


class Away(Exception):
    """The replica did not answer, or not what it should; the message says what."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The replica serves without counting; why."""

    replica: str
    reason: str


class Replicas(Protocol):
    """Addresses are host:port. Raises Away."""

    async def counts(self, address: str) -> Counted | Silent: ...

    async def profile(self, address: str) -> bytes: ...


class HttpReplicas:
    """Holds an HTTP client: `close` it."""

    def __init__(self, *, read_s: float = READ_S) -> None:
        self._fetcher = Fetcher(read_s)

    async def close(self) -> None:
        await self._fetcher.close()

    async def counts(self, address: str) -> Counted | Silent:
        raw = await self._get(f"http://{address}/counts", COUNTS_BYTES)
        try:
            return parsed(address, orjson.loads(raw))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Away(f"{address} does not say what it counted: {type(error).__name__}: {error}") from error

    async def profile(self, address: str) -> bytes:
        return await self._get(f"http://{address}/counts/profile", MOST_BYTES)

    async def _get(self, url: str, most_bytes: int) -> bytes:
        try:
            return await self._fetcher.get(url, most_bytes)
        except NotFetched as error:
            raise Away(str(error)) from error


def parsed(address: str, answer: Any) -> Counted | Silent:
    """Raises ValueError, KeyError, TypeError or AttributeError for what is no answer of a bento."""
    if answer.get("format") != FORMAT:
        raise ValueError(f"format {answer.get('format')!r}, and this slipway reads {FORMAT}")
    if (reason := answer.get("reason")) is not None:
        return Silent(address, str(reason)[:500])
    counts = tuple(answer["counts"])
    if not all(type(count) is int and 0 <= count < 2**62 for count in counts):
        raise ValueError("counts must be whole numbers from 0")
    return Counted(address, str(answer["process"])[:64], str(answer["profile"])[:64], counts)


class MemoryReplicas:
    """In memory, for tests: `answers` and `profiles` by address; an address that is in neither is away."""

    def __init__(self) -> None:
        self.answers: dict[str, Counted | Silent] = {}
        self.profiles: dict[str, bytes] = {}

    async def counts(self, address: str) -> Counted | Silent:
        if address not in self.answers:
            raise Away(f"http://{address}/counts cannot be read: nobody is there")
        return self.answers[address]

    async def profile(self, address: str) -> bytes:
        if address not in self.profiles:
            raise Away(f"http://{address}/counts/profile answered 404")
        return self.profiles[address]

    async def close(self) -> None:
        """Nothing is held."""
