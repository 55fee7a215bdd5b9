"""Calls that must take effect in the order they were made, also when the caller stopped waiting.

Used by the registry adapter and its twin for aliases: if "champion is 3" is slow and "champion is 2" follows, 2 must
win. A call never overtakes another of its key, and none is cancelled with its caller.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from rollout import ports


class Ordered:
    """One queue per key. `limit` bounds how many calls of a key may be waiting, so a dead system cannot pile them up."""

    def __init__(self, system: str, limit: int = 32) -> None:
        self._system = system
        self._limit = limit
        self._tails: dict[str, asyncio.Task[None]] = {}
        self._waiting: Counter[str] = Counter()

    async def run(self, key: str, call: Callable[[], Awaitable[None]], timeout_s: float) -> None:
        """Wait at most timeout_s for the call's own turn and end; after that it stays in its place and still happens."""
        if self._waiting[key] >= self._limit:
            raise ports.Unavailable(self._system, f"{self._limit} earlier changes of {key} are still unconfirmed; try again")
        task = asyncio.create_task(self._after(self._tails.get(key), call))
        self._tails[key] = task
        self._waiting[key] += 1
        task.add_done_callback(lambda done: self._forget(key, done))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(task)
        except TimeoutError:
            raise ports.Unavailable(
                self._system, f"the change of {key} was not confirmed within {timeout_s:g} s; it stays queued, in order"
            ) from None

    async def close(self, grace_s: float = 1.0) -> None:
        """Give what is queued a moment, then give it up."""
        tasks = list(self._tails.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, earlier: asyncio.Task[None] | None, call: Callable[[], Awaitable[None]]) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        await call()

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # its caller may be gone; a failure nobody waits for is found by the loop's next look
        self._waiting[key] -= 1
        if self._waiting[key] == 0:
            del self._waiting[key]
        if self._tails.get(key) is task:
            del self._tails[key]
