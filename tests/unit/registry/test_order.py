"""Calls keep their order whatever becomes of their callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from registry import memory
from registry.order import Ordered
from rollout import ports


def call(done: list[int], number: int, gate: asyncio.Event | None = None) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        if gate is not None:
            await gate.wait()
        done.append(number)

    return run


async def test_a_slow_call_is_not_overtaken_and_happens_after_its_caller_left() -> None:
    ordered, done, gate = Ordered("x"), list[int](), asyncio.Event()
    with pytest.raises(ports.Unavailable, match="stays queued"):
        await ordered.run("m", call(done, 1, gate), 0.01)
    cancelled = asyncio.create_task(ordered.run("m", call(done, 2), 5))
    last = asyncio.create_task(ordered.run("m", call(done, 3), 5))
    await ordered.run("other", call(done, 9), 5)  # another model does not wait
    assert done == [9]
    cancelled.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cancelled
    gate.set()
    await last
    assert done == [9, 1, 2, 3]


async def test_a_failure_reaches_its_own_caller_only() -> None:
    async def fail() -> None:
        raise ports.Refused("x", "no")

    ordered, done = Ordered("x"), list[int]()
    failing = asyncio.create_task(ordered.run("m", fail, 5))
    following = asyncio.create_task(ordered.run("m", call(done, 2), 5))
    with pytest.raises(ports.Refused):
        await failing
    await following
    assert done == [2]


async def test_the_queue_is_bounded_and_closes() -> None:
    ordered, gate, done = Ordered("x", limit=2), asyncio.Event(), list[int]()
    for number in range(2):
        with pytest.raises(ports.Unavailable):
            await ordered.run("m", call(done, number, gate), 0.001)
    with pytest.raises(ports.Unavailable, match="2 earlier changes"):
        await ordered.run("m", call(done, 3), 0.001)
    await ordered.close(grace_s=0.01)
    assert done == []


async def test_the_twin_is_down_and_slow_when_told() -> None:
    twin = memory.MemoryRegistry(lambda: datetime(2026, 1, 1, tzinfo=UTC), timeout_s=0.4)
    twin.add("m")
    twin.add("m")
    twin.down = True
    for asked in (twin.models(), twin.alias("m", "champion"), twin.set_alias("m", "champion", 1)):
        with pytest.raises(ports.Unavailable):
            await asked
    twin.down, twin.slow_s = False, 1.0  # the two callers have left by 0.8 s, and by 1.0 s both changes are made
    for version in (1, 2):
        with pytest.raises(ports.Unavailable):
            await twin.set_alias("m", "champion", version)
    twin.slow_s = 0.0
    await twin.set_alias("m", "other", 1)
    assert await twin.alias("m", "champion") == 2
    await twin.close()
