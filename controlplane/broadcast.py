"""Tells waiting readers that something of a model has changed, so that nobody polls.

`publish` is called after every save, by the loop and by the API; the watch endpoint waits. A reader is told *that*
something changed, never what: it reads the store again. So a slow reader costs one flag, not a queue. One event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = ""  # to hear of all models; no model is called so


class TooMany(Exception):
    """Too many readers wait already."""


class Subscription:
    """One reader's flag. Changes between two waits are told once."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.closed = False

    def tell(self) -> None:
        self._changed.set()

    async def wait(self, timeout_s: float) -> bool:
        """True: something changed since the last wait; False: nothing within timeout_s."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Broadcast:
    """Changes per model, to any number of readers up to `limit`."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._closed = False
        self._readers: dict[str, set[Subscription]] = {}

    @property
    def readers(self) -> int:
        return sum(len(readers) for readers in self._readers.values())

    def publish(self, model_name: str) -> None:
        """Something of this model was saved."""
        for reader in (*self._readers.get(model_name, ()), *self._readers.get(EVERY, ())):
            reader.tell()

    @contextmanager
    def subscribe(self, model_name: str) -> Iterator[Subscription]:
        if self.readers >= self._limit:
            raise TooMany(f"{self._limit} readers are watching already")
        reader = Subscription()
        reader.closed = self._closed
        readers = self._readers.setdefault(model_name, set())
        readers.add(reader)
        try:
            yield reader
        finally:
            readers.discard(reader)
            if not readers:
                self._readers.pop(model_name, None)

    def close(self) -> None:
        """The process ends: wake every reader and let it see `closed`, so that no stream outlives the server."""
        self._closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.closed = True
                reader.tell()
