"""Who looks when: one worker per model, woken by requests, by the gateway, by the runtime, or by time.

`wake` is for people's requests: it interrupts whatever the pass is waiting for, so that an abort reaches the gateway in
milliseconds. `nudge` is for the outside: it only makes the next look come sooner.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from dataclasses import dataclass, field

from rollout import model, plan

from .observe import Ports
from .passes import Passes

MAX_BACKOFF_S = 30.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    task: asyncio.Task[None] | None = None
    interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str | None = None


class Loop:
    def __init__(self, outside: Ports, passes: Passes) -> None:
        self._outside = outside
        self._passes = passes
        self._workers: dict[str, _Worker] = {}
        self._running = False

    async def restore(self) -> int:
        """Publish the stored routing of every model, before any gateway may connect: a reconnecting gateway must never be
        told of fewer models than it serves. Returns how many models there are."""
        records = await self._outside.store.records()
        for record in records:
            rollout = await self._outside.store.open_rollout(record.model)
            observed = await self._restored(record)
            routing = plan.routing(record, rollout, observed)
            if routing is not None:
                await self._outside.gateway.publish(routing)
        return len(records)

    async def _restored(self, record: model.ModelRecord) -> model.Observed:
        deployments = await self._outside.runtime.deployments(record.model)
        gateway = await self._outside.gateway.state(record.model)
        return model.Observed(now=self._passes.now(), deployments=deployments, gateway=gateway)

    async def startup(self) -> None:
        self._running = True
        for record in await self._outside.store.records():
            self.nudge(record.model)

    def wake(self, model_name: str) -> None:
        """Somebody asked for something: drop what the pass waits for and look again."""
        self._worker(model_name).interrupt.set()
        self.nudge(model_name)

    def nudge(self, model_name: str) -> None:
        """Something changed outside: look again when this pass is over."""
        worker = self._worker(model_name)
        worker.again.set()
        if worker.task is None and self._running:
            # with a context of its own: its log lines are not about the request that happened to begin it
            work, name = self._work(model_name, worker), f"model {model_name}"
            worker.task = asyncio.create_task(work, name=name, context=contextvars.Context())

    @property
    def failures(self) -> dict[str, str]:
        """Models whose last pass ended in an unexpected error."""
        return {name: worker.failure for name, worker in self._workers.items() if worker.failure}

    async def shutdown(self, deadline_s: float) -> None:
        """Stop looking. Nothing is undone: the data plane goes on, and the next process resumes from the store."""
        self._running = False
        tasks = [worker.task for worker in self._workers.values() if worker.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)

    def _worker(self, model_name: str) -> _Worker:
        return self._workers.setdefault(model_name, _Worker())

    async def _work(self, model_name: str, worker: _Worker) -> None:
        errors = 0
        while self._running:
            worker.again.clear()
            worker.interrupt.clear()
            try:
                wait_s = await self._passes.run(model_name, worker.interrupt)
                errors, worker.failure = 0, None
            except Exception as error:  # a defect of one model's pass must not stop the others, nor itself for ever
                errors += 1
                wait_s = min(MAX_BACKOFF_S, 2.0 ** (errors - 1))
                worker.failure = f"{type(error).__name__}: {error}"
                log.exception("the pass failed; trying again in %.0f s", wait_s, extra={"model": model_name})
            try:
                async with asyncio.timeout(wait_s):
                    await worker.again.wait()
            except TimeoutError:
                continue
