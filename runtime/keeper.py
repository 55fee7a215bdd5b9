"""The life of one replica: adopt or start it, wait until it answers its golden rows, watch it, start it again when it ends.

A task of the supervisor, which hands it a `Book`: where replicas are written down before they are acted on, and who is told. Ends only
by `GaveUp`. Must never give up on a version that was ready once: what served yesterday is restarted for ever, slower and slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rollout import ports

from . import backoff, packager, probe, process, record

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often, in seconds and times."""

    ready_s: float = 60.0  # from the start of a process until it is ready
    attempts: int = 3  # starts that may fail before a version that was never ready is given up
    watch_s: float = 0.2  # between two looks at a process
    health_s: float = 5.0  # between two questions to a ready replica
    unhealthy: int = 3  # unanswered questions in a row after which a replica is replaced
    linger_s: float = 0.5  # between leaving the endpoints and the end, for the gateway to turn away
    restart: backoff.Backoff = field(default_factory=backoff.Backoff)


@dataclass(frozen=True, slots=True)
class Tools:
    """What all replicas of a runtime share. `starting` bounds how many processes come up at once. `host`: the IP address on which
    replicas listen, and under which gateways reach them."""

    packager: packager.Packager
    probe: probe.Probe
    starting: asyncio.Semaphore
    limits: Limits
    environment: Mapping[str, str]
    changed: Callable[[str], None]
    host: str = process.LOOPBACK


class Book(Protocol):
    """The deployment that a replica belongs to."""

    folder: Path

    @property
    def proven(self) -> bool: ...

    def known(self, index: int) -> record.Replica | None: ...

    def remember(self, replica: record.Replica) -> None:
        """Write it down. Raises OSError."""
        ...

    async def bento(self) -> packager.Bento: ...

    def came(self, replica: record.Replica) -> None:
        """It may take traffic."""
        ...

    def went(self, index: int, reason: str) -> None:
        """It may not, or not any more."""
        ...


class GaveUp(Exception):
    """The version will not work; the message says why."""


class _Ended(Exception):
    """The process ended, or must be ended. `hopeless`: the next try would end the same."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


def folder_of(deployment: Path, index: int) -> Path:
    return deployment / f"replica-{index}"


async def keep(index: int, book: Book, tools: Tools) -> None:
    """Raises GaveUp."""
    loop, limits, failures = asyncio.get_running_loop(), tools.limits, 0
    while True:
        began = loop.time()
        try:
            await _live(index, book, tools)
        except (_Ended, ports.Refused, OSError) as error:
            failures = limits.restart.failures(failures, loop.time() - began)
            reason = str(error) if isinstance(error, _Ended | ports.Refused) else f"the runtime cannot start a replica: {error}"
            hopeless = not isinstance(error, _Ended) or error.hopeless
            if not book.proven and (hopeless or failures >= limits.attempts):
                raise GaveUp(reason) from error
            LOG.warning("replica %s in %s: %s; start %s follows", index, book.folder, reason, failures + 1)
            book.went(index, f"replica {index} is being restarted: {reason}")
        if (last := book.known(index)) is not None:
            await process.end(last, 0.0)
        await asyncio.sleep(limits.restart.delay_s(failures))


async def _live(index: int, book: Book, tools: Tools) -> None:
    """One life of the replica. Raises _Ended, or what packaging and starting raise."""
    known = book.known(index)
    replica = await _adopted(known)
    if replica is not None:
        if replica != known:
            book.remember(replica)
        # A checked one served an earlier control plane, and gateways may be sending it traffic right now: it stays in service
        # until the watch finds it silent, however busy it is at this moment.
        if not replica.checked:
            replica = await _until_ready(replica, book, tools)
    else:
        bento = await book.bento()
        async with tools.starting:
            replica = await _until_ready(_start(index, bento, book, tools), book, tools)
    book.came(replica)
    await _watch(replica, book, tools)


async def _adopted(known: record.Replica | None) -> record.Replica | None:
    """The process that an earlier control plane started, if it still runs."""
    if known is None:
        return None
    if known.pid is None and (pid := await asyncio.to_thread(process.find, known.token)) is not None:
        known = replace(known, pid=pid, created=process.created(pid))
    if process.alive(known):
        return known
    await process.end(known, 0.0)  # what it may have left behind
    return None


def _start(index: int, bento: packager.Bento, book: Book, tools: Tools) -> record.Replica:
    """Without a pause in between, so that a cancelled task never leaves a process that is not written down. Raises OSError."""
    listener = process.listen(tools.host)
    with contextlib.closing(listener.sock):
        replica = record.Replica(index, secrets.token_hex(16), listener.port)
        book.remember(replica)
        folder = folder_of(book.folder, index)
        pid = process.start(bento.path, folder, listener, replica.token, tools.environment)
    replica = replace(replica, pid=pid, created=process.created(pid))
    book.remember(replica)
    return replica


async def _until_ready(replica: record.Replica, book: Book, tools: Tools) -> record.Replica:
    loop, limits, address = asyncio.get_running_loop(), tools.limits, f"{tools.host}:{replica.port}"
    folder = folder_of(book.folder, replica.index)
    until = loop.time() + limits.ready_s
    while await tools.probe.health(address) is not probe.Health.READY:
        if not process.alive(replica):
            raise _Ended(f"the server ended before it was ready: {process.tail(folder)}")
        if loop.time() > until:
            raise _Ended(f"the server was not ready within {limits.ready_s:g} s: {process.tail(folder)}", hopeless=True)
        await asyncio.sleep(0.05)
    rows = (await book.bento()).rows
    if rows is not None:
        try:
            await tools.probe.check(address, rows)
        except probe.Refusal as error:
            # a process that died meanwhile is no proof against the model
            raise _Ended(str(error), hopeless=process.alive(replica)) from error
    return replace(replica, checked=True)


async def _watch(replica: record.Replica, book: Book, tools: Tools) -> None:
    """Returns by _Ended, once the process is gone or has stopped answering."""
    limits, address, folder = tools.limits, f"{tools.host}:{replica.port}", folder_of(book.folder, replica.index)
    unanswered, looks = 0, max(1, round(limits.health_s / limits.watch_s))
    while True:
        for _ in range(looks):
            await asyncio.sleep(limits.watch_s)
            if process.gone(replica):
                raise _Ended(f"the server ended: {process.tail(folder)}")
        if not process.alive(replica):
            raise _Ended(f"the server ended: {process.tail(folder)}")
        process.trim(folder)
        unanswered = 0 if await tools.probe.health(address) is probe.Health.READY else unanswered + 1
        if unanswered >= limits.unhealthy:
            raise _Ended(f"the server did not answer {unanswered} health checks in a row: {process.tail(folder)}")
