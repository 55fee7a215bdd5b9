"""Keeps one deployment as it is wanted: as many replicas as wished, packaged when one must be started, drained when it is stopped.

One per (model, version), made by `LocalRuntime`. Its tasks are the only writers of the deployment's state file; what others see is
computed from memory. Must never end a replica that was not asked to end, except when the version is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rollout import model, ports

from . import keeper, packager, process, record

LOG = logging.getLogger(__name__)
State = model.DeploymentState


class Supervisor:
    """`folder` holds the state file and a folder per replica."""

    def __init__(self, folder: Path, wish: record.Record, tools: keeper.Tools) -> None:
        self.folder = folder
        self._record = wish
        self._tools = tools
        self._ready: dict[int, str] = {}  # index -> address
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._packaging = asyncio.Lock()
        self._bento: packager.Bento | None = None
        self._wish = asyncio.Event()
        self._reason = ""
        self._task: asyncio.Task[None] | None = None
        self._told: model.Deployment | None = None

    # what others see

    @property
    def deployment(self) -> model.Deployment:
        wanted, ready = self._record.wanted, tuple(self._ready[index] for index in sorted(self._ready))
        if self._record.stopping:
            state = State.STOPPING
        elif self._record.failed:
            state = State.FAILED
        elif len(ready) >= wanted:
            state = State.READY
        elif self._record.proven:
            state = State.DEGRADED
        else:
            state = State.PREPARING if self._bento is None else State.STARTING
        ready = () if state in (State.STOPPING, State.FAILED) else ready
        return model.Deployment(
            self._record.model, self._record.version, state, wanted, ready, self._record.failed or self._reason
        )

    @property
    def stopping(self) -> bool:
        return self._record.stopping

    def _tell(self) -> None:
        now = self.deployment
        if now != self._told:
            self._told = now
            self._tools.changed(now.model)

    def _save(self, changed: record.Record) -> None:
        """On disk first, then in memory. Raises OSError."""
        record.write(self.folder / "state.json", changed)
        self._record = changed

    # what others ask

    def begin(self) -> None:
        """Start, or go on after a restart of the control plane. Raises OSError if the state cannot be written."""
        self._save(self._record)
        self._task = asyncio.create_task(self._run())
        self._tell()

    def want(self, replicas: int) -> None:
        """A failed deployment stays failed until it is stopped. Raises OSError."""
        if replicas != self._record.wanted and not self._record.stopping:
            self._save(replace(self._record, wanted=replicas))
            self._wish.set()
            self._tell()

    def leave(self) -> None:
        """No endpoints from now on."""
        self._mark(replace(self._record, stopping=True))
        self._ready.clear()
        self._tell()

    async def end(self, drain_s: float) -> None:
        """After `leave`. Returns when nothing is left but the bento. Cancelled half-way, the next control plane goes on with it."""
        await self.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + drain_s
        if self._record.replicas:
            await asyncio.sleep(min(self._tools.limits.linger_s, drain_s))
        left_s = max(until - loop.time(), 0.0)
        await asyncio.gather(*(process.end(replica, left_s) for replica in self._record.replicas))
        with contextlib.suppress(OSError):  # found again at the next start, and stopped again
            (self.folder / "state.json").unlink(missing_ok=True)

    async def settle(self) -> None:
        """Return once every replica that served before and still runs serves again."""
        while any(one.checked and one.index not in self._ready and process.alive(one) for one in self._record.replicas):  # noqa: ASYNC110 - a process may end meanwhile
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """End the supervision; the replicas run on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop(lambda _: True)

    def _mark(self, changed: record.Record) -> None:
        """As `_save`, but a full or read-only disk must neither keep a version running nor hide that it failed."""
        try:
            self._save(changed)
        except OSError:
            LOG.exception("the state of %s:v%s cannot be written", changed.model, changed.version)
            self._record = changed

    # what keepers ask (keeper.Book)

    @property
    def proven(self) -> bool:
        return self._record.proven

    def known(self, index: int) -> record.Replica | None:
        return next((replica for replica in self._record.replicas if replica.index == index), None)

    def remember(self, replica: record.Replica) -> None:
        others = tuple(other for other in self._record.replicas if other.index != replica.index)
        self._save(replace(self._record, replicas=(*others, replica)))

    async def bento(self) -> packager.Bento:
        """Packaged once, at the first start of a replica. Raises Refused; waits while the registry is away."""
        async with self._packaging:
            failures = 0
            while self._bento is None:
                try:
                    self._bento = await self._tools.packager.package(self._record.model, self._record.version)
                except ports.Unavailable as error:
                    failures += 1
                    self._reason = f"waiting for {error.system}: {error}"
                    self._tell()
                    await asyncio.sleep(self._tools.limits.restart.delay_s(failures))
                else:
                    self._reason = self._standing_reason()
                    self._tell()
            return self._bento

    def came(self, replica: record.Replica) -> None:
        others = tuple(other for other in self._record.replicas if other.index != replica.index)
        self._mark(replace(self._record, proven=True, replicas=(*others, replica)))
        self._ready[replica.index] = f"{self._tools.host}:{replica.port}"
        if len(self._ready) >= self._record.wanted:
            self._reason = self._standing_reason()
        self._tell()

    def went(self, index: int, reason: str) -> None:
        self._ready.pop(index, None)
        self._reason = reason
        self._tell()

    def _standing_reason(self) -> str:
        unchecked = self._bento is not None and self._bento.rows is None
        return "golden rows were not checked: the version has neither golden.json nor an input example" if unchecked else ""

    # the work

    async def _run(self) -> None:
        if self._record.failed or self._record.stopping:
            return
        while True:
            self._wish.clear()
            for index in range(self._record.wanted):
                if index not in self._keepers:
                    self._keepers[index] = asyncio.create_task(keeper.keep(index, self, self._tools))
            await self._shrink()
            wish = asyncio.create_task(self._wish.wait())
            try:
                done, _ = await asyncio.wait([wish, *self._keepers.values()], return_when=asyncio.FIRST_COMPLETED)
            finally:
                wish.cancel()
            if ended := [task for task in done if task is not wish]:
                await self._give_up(ended[0].exception())
                return

    async def _give_up(self, error: BaseException | None) -> None:
        if not isinstance(error, keeper.GaveUp):
            LOG.error("keeping %s:v%s broke", self._record.model, self._record.version, exc_info=error)
        await self._drop(lambda _: True)
        await asyncio.gather(*(process.end(replica, 0.0) for replica in self._record.replicas))
        self._ready.clear()
        self._mark(replace(self._record, failed=str(error) or "it broke", replicas=()))
        self._tell()

    async def _shrink(self) -> None:
        """Fewer are wanted than there are."""
        extra = [replica for replica in self._record.replicas if replica.index >= self._record.wanted]
        for replica in extra:
            self._ready.pop(replica.index, None)
        self._tell()
        await self._drop(lambda index: index >= self._record.wanted)
        if extra:
            await asyncio.sleep(self._tools.limits.linger_s)
        await asyncio.gather(*(process.end(replica, self._tools.limits.ready_s) for replica in extra))
        if extra:
            kept = tuple(replica for replica in self._record.replicas if replica.index < self._record.wanted)
            self._mark(replace(self._record, replicas=kept))

    async def _drop(self, which: Callable[[int], bool]) -> None:
        dropped = [self._keepers.pop(index) for index in list(self._keepers) if which(index)]
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)
