"""Calls the model in one worker thread, on all that waits at once if the model answers row by row.

Used by `app.App`. Nobody waits for a batch to fill: a request that finds the model idle is called at once, and only what
queued up meanwhile is put together. So batches cost no latency, and a burst costs a few calls instead of one each.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import predictor, signature, tracing

MAX_ROWS = 256  # of one batch; a larger request is called alone

# rows, seconds that the first of them waited, seconds of the model's call
Called = Callable[[int, float, float], None]


@dataclass(slots=True)
class _Job:
    data: signature.Input
    params: Mapping[str, Any]
    rows: int
    answer: asyncio.Future[Any]
    since: float
    trace: tracing.Trace | None


class Batcher:
    """`loaded.by_row` says that a row's answer does not depend on the rows beside it. `called` hears of every batch, in the worker
    thread."""

    def __init__(self, loaded: predictor.Predictor, called: Called = lambda *_: None) -> None:
        self._loaded = loaded
        self._called = called
        self._by_row = loaded.by_row
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._jobs: deque[_Job] = deque()
        self._working: asyncio.Task[None] | None = None
        self._call_began: float | None = None

    def busy_s(self) -> float:
        """How long the running call of the model has taken so far."""
        return 0.0 if self._call_began is None else time.monotonic() - self._call_began

    async def predict(self, data: signature.Input, params: Mapping[str, Any], trace: tracing.Trace | None = None) -> Any:
        """The model's answer, plain enough for JSON; raises what the model raised. Notes in `trace` when what happened to it."""
        loop = asyncio.get_running_loop()
        rows = len(next(iter(data.values()))) if isinstance(data, dict) else len(data)
        job = _Job(data, params, rows, loop.create_future(), time.perf_counter(), trace)
        self._jobs.append(job)
        if self._working is None:
            self._working = loop.create_task(self._work(loop))
        return await job.answer

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while batch := self._take():
                answers = await loop.run_in_executor(self._thread, self._answers, batch)
                for job, answer in zip(batch, answers, strict=True):
                    if job.answer.done():  # its client gave up waiting
                        continue
                    if isinstance(answer, Exception):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result(answer)
        finally:
            self._working = None

    def _take(self) -> list[_Job]:
        batch: list[_Job] = []
        rows = 0
        while self._jobs:
            job = self._jobs[0]
            if job.answer.done():
                self._jobs.popleft()
                continue
            if batch and (not self._by_row or job.params or batch[0].params or rows + job.rows > MAX_ROWS):
                break
            batch.append(self._jobs.popleft())
            rows += job.rows
        return batch

    def _answers(self, batch: Sequence[_Job]) -> list[Any]:
        """In the worker thread."""
        began = time.perf_counter()
        answers = self._answered(batch)
        ended = time.perf_counter()
        rows = sum(job.rows for job in batch)
        self._called(rows, began - batch[0].since, ended - began)
        for job in batch:
            if (trace := job.trace) is not None:
                trace.rows, trace.batch_rows, trace.batch_requests = job.rows, rows, len(batch)
                trace.queued, trace.batched, trace.taken = job.since, ended, began
        return answers

    def _answered(self, batch: Sequence[_Job]) -> list[Any]:
        """If the batch fails, each request is called alone: one bad row is nobody else's error."""
        if len(batch) > 1:
            try:
                return self._together(batch)
            except Exception:  # noqa: BLE001 - the model's code may raise anything, and says it again below
                return [self._alone(job) for job in batch]
        return [self._alone(job) for job in batch]

    def _alone(self, job: _Job) -> Any:
        try:
            return self._call(job.data, job.params, (job,))
        except Exception as error:  # noqa: BLE001 - as above; it is raised where the request waits
            return error

    def _together(self, batch: Sequence[_Job]) -> list[Any]:
        merged = {
            name: np.concatenate([job.data[name] for job in batch])
            for name in batch[0].data  # only requests with columns are put together
        }
        answer = self._call(merged, {}, batch)
        if not isinstance(answer, (np.ndarray, list)) or len(answer) != sum(job.rows for job in batch):
            self._by_row = False  # it said it answers row by row and does not
            raise TypeError("the model did not answer one value per row")
        parts = []
        start = 0
        for job in batch:
            parts.append(answer[start : start + job.rows])
            start += job.rows
        return parts

    def _call(self, data: signature.Input, params: Mapping[str, Any], jobs: Sequence[_Job]) -> Any:
        began = time.perf_counter()
        self._call_began = time.monotonic()
        try:
            return predictor.plain(self._loaded.predict(data, params))
        finally:
            self._call_began = None
            for job in jobs:
                if job.trace is not None:
                    job.trace.called, job.trace.answered = began, time.perf_counter()
