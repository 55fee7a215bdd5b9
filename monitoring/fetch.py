"""Reads what somebody says over HTTP, bounded in time and in size. Used by what asks replicas; knows nothing of what they say."""

from __future__ import annotations

import asyncio

import aiohttp


class NotFetched(Exception):
    """There is no whole answer; the message says why. `status`: what came in place of 200."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Fetcher:
    """Holds an HTTP client: `close` it. read_s: how long a whole answer may take."""

    def __init__(self, read_s: float) -> None:
        self._read_s = read_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, url: str, most_bytes: int) -> bytes:
        if self._session is None:  # made here, since it belongs to the running loop
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with asyncio.timeout(self._read_s), self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise NotFetched(f"{url} answered {answer.status}", answer.status)
                body = bytearray()
                async for part in answer.content.iter_chunked(65536):
                    body += part
                    if len(body) > most_bytes:
                        raise NotFetched(f"{url} answered more than {most_bytes} bytes")
                return bytes(body)
        except TimeoutError as error:
            raise NotFetched(f"{url} did not answer within {self._read_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotFetched(f"{url} cannot be read: {type(error).__name__}") from error
