"""Reads what replicas counted, and their reference profile, over HTTP. Called by the control plane's drift watcher.

Bounded in time and in size; nothing that a replica says is believed. A replica without counts is no error: it says why.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import orjson

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
        self._read_s = read_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def counts(self, address: str) -> Counted | Silent:
        raw = await self._get(f"http://{address}/counts", COUNTS_BYTES)
        try:
            return parsed(address, orjson.loads(raw))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Away(f"{address} does not say what it counted: {type(error).__name__}: {error}") from error

    async def profile(self, address: str) -> bytes:
        return await self._get(f"http://{address}/counts/profile", MOST_BYTES)

    async def _get(self, url: str, most: int) -> bytes:
        if self._session is None:  # made here, since it belongs to the running loop
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with asyncio.timeout(self._read_s), self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise Away(f"{url} answered {answer.status}")
                body = bytearray()
                async for part in answer.content.iter_chunked(65536):
                    body += part
                    if len(body) > most:
                        raise Away(f"{url} answered more than {most} bytes")
                return bytes(body)
        except TimeoutError as error:
            raise Away(f"{url} did not answer within {self._read_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Away(f"{url} cannot be read: {type(error).__name__}") from error


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
